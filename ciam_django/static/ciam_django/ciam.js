// Improvements of the pages of ciam_django. Each page works without this script, too.

/**
 * Block a button for the seconds in its `data-ciam-wait`, and count down on the button with the text
 * in `data-ciam-waiting`. The text in `data-ciam-ready` is announced at the end, and only then.
 */
function startCountdown(button) {
  if (button.hasAttribute("aria-disabled")) return;
  const { ciamWait, ciamWaiting, ciamReady } = button.dataset;
  const until = Date.now() + Number(ciamWait) * 1000;
  // The name of the button stays the same: screen readers would read each second.
  const label = button.textContent;
  const name = document.createElement("span");
  name.className = "ciam-unseen";
  name.textContent = label;
  const countdown = document.createElement("span");
  countdown.setAttribute("aria-hidden", "true");
  button.replaceChildren(name, countdown);
  const announcement = document.createElement("p");
  announcement.className = "ciam-unseen";
  announcement.setAttribute("role", "status");
  (button.form ?? button.parentElement).append(announcement);
  button.addEventListener("click", (event) => {
    // A link has no form that would refuse the button.
    if (button.hasAttribute("aria-disabled")) event.preventDefault();
  });
  // The attribute `disabled` would take the focus away.
  button.setAttribute("aria-disabled", "true");
  const tick = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    if (seconds > 0) {
      const text = ciamWaiting.replace("{minutes}", Math.ceil(seconds / 60));
      countdown.textContent = text.replace("{seconds}", seconds);
      setTimeout(tick, 1000);
    } else {
      button.replaceChildren(label);
      button.removeAttribute("aria-disabled");
      announcement.textContent = ciamReady;
    }
  };
  tick();
}

// --- Before a form is sent --------------------------------------------------------------------

const FORMS = ".ciam-card form, form[data-ciam-form]";
const BUTTONS = ":is(.ciam-card, [data-ciam-form]) [type=submit]:not([aria-disabled])";

/** Return the message for a wrong value of an input, or an empty text. */
function messageFor(input) {
  const isBlank = input.type !== "password" && !input.value.trim();
  if (input.validity.valueMissing || (input.required && isBlank)) {
    return input.dataset.ciamBlank ?? input.validationMessage;
  }
  return input.validity.valid ? "" : input.dataset.ciamInvalid ?? input.validationMessage;
}

/** Show a message at the field of an input as the server does, or remove it if it is empty. */
function showMessage(input, message) {
  const id = `ciam_${input.name}_error`;
  let line = document.getElementById(id);
  const ids = new Set(input.getAttribute("aria-describedby")?.split(" "));
  if (message && !line) {
    line = document.createElement("p");
    line.className = "ciam-error";
    line.id = id;
    (input.closest(".ciam-field") ?? input.parentElement).append(line);
  }
  if (message) {
    line.textContent = message;
    input.setAttribute("aria-invalid", "true");
    input.dataset.ciamWrong = "";
    ids.add(id);
  } else {
    line?.remove();
    input.removeAttribute("aria-invalid");
    delete input.dataset.ciamWrong;
    ids.delete(id);
  }
  input.setAttribute("aria-describedby", [...ids].join(" "));
}

/** Keep a form with wrong values in the page, where nothing typed is lost, not even a password. */
function checkForm(event) {
  const form = event.target;
  if (!form.matches(FORMS) || event.submitter?.formNoValidate) return;
  let firstWrong;
  for (const input of form.elements) {
    if (!input.willValidate || input.matches("button, [data-ciam-consent]")) continue;
    const message = messageFor(input);
    if (message) firstWrong ??= input;
    if (message || input.hasAttribute("aria-invalid")) showMessage(input, message);
  }
  if (!firstWrong) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  firstWrong.focus();
}

/** Send a form only with the consent to the terms: ask in a dialog if the box is not ticked. */
function askForConsent(form) {
  // An old browser has no dialogs. Then the browser itself or the server asks.
  if (!document.querySelector("[data-ciam-ask]")?.showModal) return;
  form.noValidate = true;
  form.addEventListener("submit", (event) => {
    // The box can be in another form of the page. A tab can replace the box and the dialog.
    const box = document.querySelector("[data-ciam-consent]");
    const dialog = document.querySelector("[data-ciam-ask]");
    const button = event.submitter;
    if (event.defaultPrevented || !box || !dialog || button?.formNoValidate) return;
    if (box.checked) {
      if (box.form !== form) copyConsent(box.form, form);
      return;
    }
    event.preventDefault();
    const agree = dialog.querySelector("[data-ciam-agree]");
    dialog.showModal();
    agree.focus();
    dialog.querySelector("[data-ciam-disagree]").onclick = () => dialog.close();
    agree.onclick = () => {
      dialog.close();
      // Unlike an assignment, the click tells other scripts about the tick.
      if (!box.checked) box.click();
      if (button) button.click();
      else form.requestSubmit();
    };
  });
}

/** Copy the ticks of the terms from one form to another. */
function copyConsent(source, target) {
  target.querySelectorAll("[type=hidden][name=consent]").forEach((input) => input.remove());
  source.querySelectorAll("[name=consent]:checked").forEach(({ value }) => {
    const input = document.createElement("input");
    Object.assign(input, { type: "hidden", name: "consent", value });
    target.append(input);
  });
}

// --- While a form is sent ---------------------------------------------------------------------

// Milliseconds until a form can be sent again if no page comes, as after the browser's Stop button.
const SENDING_TIMEOUT = 20_000;
// The buttons that are blocked while a form is sent; null if no form is sent.
let blockedButtons = null;
let sendingTimer;

/** Send only one form of the page, once, and never with a button that is still blocked. */
function sendOnce(event) {
  const form = event.target;
  if (event.defaultPrevented || !form.matches(FORMS)) return;
  if (blockedButtons || event.submitter?.getAttribute("aria-disabled") === "true") {
    event.preventDefault();
    return;
  }
  (event.submitter ?? form.querySelector("[type=submit]"))?.setAttribute("aria-busy", "true");
  // The attribute `disabled` would take the focus away, and the value of the button.
  blockedButtons = document.querySelectorAll(BUTTONS);
  blockedButtons.forEach((button) => button.setAttribute("aria-disabled", "true"));
  sendingTimer = setTimeout(releaseForms, SENDING_TIMEOUT);
}

/** Let forms be sent again. */
function releaseForms() {
  clearTimeout(sendingTimer);
  blockedButtons?.forEach((button) => {
    button.removeAttribute("aria-disabled");
    button.removeAttribute("aria-busy");
  });
  blockedButtons = null;
}

// --- Parts of a page --------------------------------------------------------------------------

/** Have a button show and hide the password that is typed into an input. */
function setUpReveal(button) {
  const input = document.getElementById(button.getAttribute("aria-controls"));
  const show = (isShown) => {
    input.type = isShown ? "text" : "password";
    button.setAttribute("aria-pressed", isShown);
    button.textContent = isShown ? button.dataset.ciamHide : button.dataset.ciamShow;
  };
  button.hidden = false;
  button.addEventListener("click", () => show(input.type === "password"));
  // Browsers offer to save passwords of password inputs only, and remember the texts of others.
  input.form.addEventListener("submit", () => show(false));
}

/** Hide the choice of a country code while the field has an email address or a code of its own. */
function setUpCountryCode(group) {
  const choice = group.querySelector(".ciam-select");
  const field = group.querySelector("input");
  if (!choice) return;
  const update = () => {
    choice.hidden = /^\s*(\+|＋|00)|[@\p{L}]/u.test(field.value);
  };
  field.addEventListener("input", update);
  update();
}

/** Have a button replace the CAPTCHA picture above it by a new one. */
function setUpCaptchaRefresh(button) {
  const picture = button.parentElement.querySelector("img");
  const address = picture.getAttribute("src");
  const separator = address.includes("?") ? "&" : "?";
  button.hidden = false;
  button.addEventListener("click", () => {
    picture.src = `${address}${separator}t=${Date.now()}`;
  });
}

/** Have a button copy the address in its `data-ciam-copy`. */
function setUpCopy(button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.ciamCopy);
    } catch {
      // Some browsers inside apps, and pages without https, have no clipboard.
      const field = document.createElement("textarea");
      field.value = button.dataset.ciamCopy;
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    button.textContent = button.dataset.ciamCopied;
  });
}

const SIGNED_IN_EVENT = "ciam_django.signed_in";
// The keys of two messages between windows. A window gets a message as the change of the value in
// the local storage. Only pages of this origin can send and get such messages, also if the policy
// of a page (Cross-Origin-Opener-Policy) has separated the windows, and in browsers without
// BroadcastChannel (Safari before 15.4).
const SIGNED_IN_KEY = SIGNED_IN_EVENT;
const REPLY_KEY = `${SIGNED_IN_EVENT}.reply`;
// Milliseconds. A page that waits for this window replies within this time.
const REPLY_TIMEOUT = 500;

/** Send a message to the other windows of this origin. The storage does not keep the message. */
function sendToWindows(key, message) {
  // An equal value would not be a change.
  localStorage.setItem(key, JSON.stringify({ ...message, sent: Date.now() }));
  localStorage.removeItem(key);
}

/** Call `receive` with the first message of another window, and return a function that stops. */
function receiveOnce(key, receive) {
  const onStorage = (event) => {
    if (event.key !== key || !event.newValue) return;
    stop();
    receive(JSON.parse(event.newValue));
  };
  const stop = () => removeEventListener("storage", onStorage);
  addEventListener("storage", onStorage);
  return stop;
}

/** Open a link to the login page in a popup. If the popup is blocked, the link works as a link. */
function openInPopup(link) {
  let isTried = false;
  link.addEventListener("click", (event) => {
    // Only the first click opens a popup. The next click opens the login page itself.
    if (isTried || event.ctrlKey || event.metaKey || event.shiftKey) return;
    isTried = true;
    const popup = open(link.dataset.ciamPopup, "ciam_django", "popup,width=480,height=720");
    // The browser has blocked the popup.
    if (!popup) return;
    event.preventDefault();
    receiveOnce(SIGNED_IN_KEY, ({ next }) => {
      sendToWindows(REPLY_KEY, {});
      const options = { bubbles: true, cancelable: true, detail: { next } };
      const signedInEvent = new CustomEvent(SIGNED_IN_EVENT, options);
      if (link.dispatchEvent(signedInEvent)) location.assign(next);
    });
  });
}

/** Tell the page that opened this popup that the user is signed in, and close the popup. */
function notifyOpener(link) {
  const goOn = () => location.replace(link.href);
  const timeout = setTimeout(goOn, REPLY_TIMEOUT);
  // Without a reply no page of this origin waits. The window stays open: another origin that has
  // opened the window would see that the window closes.
  receiveOnce(REPLY_KEY, () => {
    clearTimeout(timeout);
    close();
  });
  sendToWindows(SIGNED_IN_KEY, { next: link.href });
}

// --- The tabs of the login page ---------------------------------------------------------------

// The URL of a tab -> the part of the page with the tab, and with all that was typed there.
const tabs = new Map();
const RECIPIENTS = ["username", "phone_number", "email"];
const PHONE_NUMBER = /^[+\d][\d\s().-]{4,}$/;

/** Show a tab in place of the current tab, without leaving the page. */
async function switchTab(region, link) {
  tabs.set(region.querySelector("[aria-current]").href, region);
  link.setAttribute("aria-busy", "true");
  const isKnown = tabs.has(link.href);
  const next = tabs.get(link.href) ?? (await loadTab(link.href));
  link.removeAttribute("aria-busy");
  // The user may have chosen another tab while this tab was loading.
  if (!region.isConnected) return;
  keepTyped(region, next);
  document.querySelector(".ciam-notice")?.remove();
  region.replaceWith(next);
  if (!isKnown) setUp(next);
  history.replaceState(history.state, "", link.href);
  next.querySelector("[aria-current]").focus();
}

/** Load the part of the login page with a tab. */
async function loadTab(url) {
  const response = await fetch(url, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const region = page.querySelector("[data-ciam-tabs]");
  // The login page has led to another page, for example to the page of a code that was sent.
  if (response.redirected || !response.ok || !region) throw new Error("no tab");
  return document.adoptNode(region);
}

/** Copy the ticks to another tab, and the typed recipient if it fits there. */
function keepTyped(from, to) {
  const field = (region, name) => region.querySelector(`input[name=${name}]`);
  const typed = [from, ...tabs.values()]
    .flatMap((region) => RECIPIENTS.map((name) => field(region, name)?.value.trim()))
    .find(Boolean) ?? "";
  const fits = { username: typed, phone_number: PHONE_NUMBER.test(typed), email: typed.includes("@") };
  for (const name of RECIPIENTS) {
    const input = field(to, name);
    if (input && !input.value && fits[name]) input.value = typed;
  }
  from.querySelectorAll("[type=checkbox]").forEach(({ name, value, checked }) => {
    const box = to.querySelector(`[name="${name}"][value="${CSS.escape(value)}"]`);
    if (box) box.checked = checked;
  });
}

/** Have the tabs keep what was typed and ticked. Without this script, a tab is a link. */
function setUpTabs(region) {
  region.querySelectorAll(".ciam-method").forEach((link) => {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (link.hasAttribute("aria-current") || link.hasAttribute("aria-busy")) return;
      switchTab(region, link).catch(() => location.assign(link.href));
    });
  });
}

// --- Set-up -----------------------------------------------------------------------------------

// Selector -> the function that sets an element up.
const SET_UPS = {
  "[data-ciam-popup]": openInPopup,
  "[data-ciam-done]": notifyOpener,
  "[data-ciam-wait]": startCountdown,
  "[data-ciam-needs-consent]": askForConsent,
  "[data-ciam-copy]": setUpCopy,
  "[data-ciam-phone]": setUpCountryCode,
  "[data-ciam-new-picture]": setUpCaptchaRefresh,
  "[data-ciam-show]": setUpReveal,
  "[data-ciam-tabs]": setUpTabs,
};
const setUpElements = Object.fromEntries(Object.keys(SET_UPS).map((key) => [key, new WeakSet()]));

/** Set up each element of a new part of the page, once. */
function setUp(root) {
  for (const [selector, setUpElement] of Object.entries(SET_UPS)) {
    [root, ...root.querySelectorAll(selector)].forEach((element) => {
      if (setUpElements[selector].has(element) || !element.matches?.(selector)) return;
      setUpElements[selector].add(element);
      setUpElement(element);
    });
  }
}

setUp(document);
// The checks come before all other listeners, and the last listener sees if another one has stopped
// the form. The listeners serve forms that come into the page later, too.
document.addEventListener("submit", checkForm, { capture: true });
addEventListener("submit", sendOnce);
document.addEventListener("input", ({ target }) => {
  if ("ciamWrong" in target.dataset && !messageFor(target)) showMessage(target, "");
});
// A page that the browser restores from its memory (bfcache) can be sent again.
addEventListener("pageshow", releaseForms);

/** Have htmx show our answers: by default, htmx shows no response with a status from 400 on. */
function swapAnswer({ detail }) {
  const isOurs = detail.xhr.getResponseHeader("Ciam-Error-Code");
  const isHtml = detail.xhr.getResponseHeader("Content-Type")?.startsWith("text/html");
  if (isOurs && isHtml) {
    detail.shouldSwap = true;
    detail.isError = false;
  }
}

document.addEventListener("htmx:load", ({ detail }) => setUp(detail.elt));
document.addEventListener("htmx:beforeSwap", swapAnswer);
