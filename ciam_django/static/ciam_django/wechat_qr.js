// WeChat's QR code inside the login page, if CIAM_WECHAT_QR is on. Without this script, the button
// leads to WeChat's page.

// Milliseconds until the dialog closes: the state of a sign-in is valid for ten minutes.
const LIFETIME = 570_000;
// A page of WeChat in the frame may only navigate the whole page to the callback with this.
const SANDBOX = "allow-scripts allow-same-origin allow-forms allow-popups allow-top-navigation";

const dialog = document.querySelector("[data-ciam-qr-dialog]");
let timeout;
// The button of the QR code that the dialog shows.
let current;

/** Load a script, or do nothing if an earlier call has loaded it. */
function loadScript(url) {
  if (window.WxLogin) return undefined;
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src: url, onload: resolve, onerror: reject });
    document.head.append(script);
  });
}

/** Start a sign-in as the form does, and return the parameters of WeChat's page. */
async function startSignIn(button) {
  const response = await fetch(button.formAction, {
    method: "POST",
    headers: { Accept: "application/json" },
    body: new URLSearchParams(new FormData(button.form)),
  });
  const { url } = await response.json();
  return new URL(url).searchParams;
}

/** Show the QR code in the dialog. */
async function showCode(button) {
  const [parameters] = await Promise.all([
    startSignIn(button),
    loadScript(button.dataset.ciamQr),
  ]);
  current = button;
  dialog.showModal();
  new window.WxLogin({
    id: "ciam_qr_frame",
    self_redirect: false,
    appid: parameters.get("appid"),
    scope: parameters.get("scope"),
    redirect_uri: encodeURIComponent(parameters.get("redirect_uri")),
    state: parameters.get("state"),
    style: "black",
    color_scheme: "light",
  });
  const frame = dialog.querySelector("iframe");
  frame.title = dialog.querySelector("h2").textContent;
  if (!frame.hasAttribute("sandbox")) {
    frame.setAttribute("sandbox", SANDBOX);
    // The sandbox applies to the next page in the frame.
    frame.src = frame.getAttribute("src");
  }
  timeout = setTimeout(() => dialog.close(), LIFETIME);
}

/** Leave for WeChat's page as the form does without this script. */
function leave(button) {
  delete button.dataset.ciamQr;
  button.click();
}

// This listener is called after the listeners that ask for the consent, and before the listener of
// ciam.js that blocks the form.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.defaultPrevented || !button?.dataset.ciamQr || !dialog?.showModal) return;
  event.preventDefault();
  if (button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  showCode(button)
    .catch(() => leave(button))
    .finally(() => button.removeAttribute("aria-busy"));
});

// The content security policy of the site refuses the frame.
document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => {
  if (dialog?.open && effectiveDirective === "frame-src") leave(current);
});
dialog?.querySelector("[data-ciam-qr-close]").addEventListener("click", () => dialog.close());
dialog?.addEventListener("close", () => {
  clearTimeout(timeout);
  dialog.querySelector("iframe")?.remove();
});
