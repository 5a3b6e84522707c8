// What the pages of ciam_django can do better with a script; each works without one, too.

/** Hold a button back for as many seconds as it says, and count them down beside it. */
function holdBack(button) {
  const text = document.getElementById(button.getAttribute("aria-describedby"));
  const until = Date.now() + Number(button.dataset.ciamWait) * 1000;
  // Not by `disabled`, which would take the focus away.
  button.setAttribute("aria-disabled", "true");
  const tick = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    if (seconds > 0) {
      text.textContent = text.dataset.ciamWaiting.replace("{seconds}", seconds);
      setTimeout(tick, 1000);
    } else {
      button.removeAttribute("aria-disabled");
      text.remove();
    }
  };
  tick();
}

/** Send a form once, and no button of it that is held back. */
function sendOnce(form) {
  form.addEventListener("submit", (event) => {
    const isHeldBack = event.submitter?.getAttribute("aria-disabled") === "true";
    if (isHeldBack || form.dataset.ciamSent) {
      event.preventDefault();
      return;
    }
    form.dataset.ciamSent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  });
}

/** Fetch another picture into the one above a button. */
function renew(button) {
  const picture = button.parentElement.querySelector("img");
  const address = picture.getAttribute("src");
  button.hidden = false;
  button.addEventListener("click", () => {
    picture.src = `${address}?${Date.now()}`;
  });
}

const MESSAGE = "ciam_django.signed_in";
// Milliseconds in which a page that waits for this window will have said so.
const PATIENCE = 500;

/** Have a link to the login page open in a window of its own, and follow it where that fails. */
function openInWindow(link) {
  let isTried = false;
  link.addEventListener("click", (event) => {
    // Whoever has closed the window gets the page itself the next time.
    if (isTried || event.ctrlKey || event.metaKey || event.shiftKey) return;
    isTried = true;
    const opened = open(link.dataset.ciamPopup, "ciam_django", "popup,width=480,height=720");
    // Where it is blocked, the link is a link.
    if (!opened) return;
    event.preventDefault();
    // Of this origin by its nature: for a window that another page's policy has parted from us.
    const channel = new BroadcastChannel(MESSAGE);
    const goOn = (next) => {
      removeEventListener("message", onMessage);
      channel.close();
      const told = new CustomEvent(MESSAGE, { bubbles: true, cancelable: true, detail: { next } });
      if (link.dispatchEvent(told)) location.assign(next);
    };
    const onMessage = ({ origin, source, data }) => {
      const isOurs = origin === location.origin && source === opened;
      if (isOurs && data?.type === MESSAGE) goOn(data.next);
    };
    addEventListener("message", onMessage);
    channel.onmessage = ({ data }) => {
      channel.postMessage({});
      goOn(data.next);
    };
  });
}

/** Tell the page that opened this window, and nobody else's, that the person is signed in. */
function tellOpener(link) {
  const next = link.href;
  if (opener) {
    opener.postMessage({ type: MESSAGE, next }, location.origin);
    close();
    return;
  }
  const channel = new BroadcastChannel(MESSAGE);
  const giveUp = setTimeout(() => location.replace(next), PATIENCE);
  channel.onmessage = () => {
    clearTimeout(giveUp);
    close();
  };
  channel.postMessage({ next });
}

document.querySelectorAll("[data-ciam-popup]").forEach(openInWindow);
document.querySelectorAll("[data-ciam-done]").forEach(tellOpener);
document.querySelectorAll("[data-ciam-wait]").forEach(holdBack);
document.querySelectorAll("[data-ciam-form]").forEach(sendOnce);
document.querySelectorAll("[data-ciam-new-picture]").forEach(renew);
// A page that comes back from the browser's memory can be sent again.
addEventListener("pageshow", () => {
  document.querySelectorAll("[data-ciam-sent]").forEach((form) => {
    delete form.dataset.ciamSent;
    form.querySelectorAll("[aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
  });
});
