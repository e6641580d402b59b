
(() => {
  const pictures = [...document.querySelectorAll(".hits .picture")];
  const large = document.getElementById("large"), image = large.querySelector("img"), link = large.querySelector("a"), text = large.querySelector("p");
  let shown = 0;
  const show = (number) => {
    shown = Math.min(Math.max(number, 0), pictures.length - 1);
    const picture = pictures[shown], small = picture.querySelector("img"), card = picture.parentElement;
    // What a browser cannot draw (TIFF, a file that is gone) is shown as small as it is.
    image.onerror = () => { image.onerror = null; if (small) image.src = small.src; };
    image.src = picture.href || (small ? small.src : "");
    image.alt = small ? small.alt : "";
    if (picture.href) link.href = picture.href; else link.removeAttribute("href");
    text.replaceChildren(...[...card.querySelectorAll(".name bdi, .caption")].flatMap((part, n) => {
      const copy = document.createElement("bdi");
      copy.dir = part.closest("[dir]").dir;
      copy.lang = part.closest("[lang]").lang;
      copy.textContent = part.textContent;
      return n ? [" · ", copy] : [copy];
    }));
    if (!large.open) large.showModal();
  };
  const beside = (picture, key) => {
    const at = picture.getBoundingClientRect(), down = key === "ArrowDown" ? 1 : -1;
    const far = (other) => { const o = other.getBoundingClientRect(); return [down * (o.top - at.top), Math.abs(o.left - at.left)]; };
    return pictures.filter((other) => far(other)[0] > 1).sort((a, b) => far(a)[0] - far(b)[0] || far(a)[1] - far(b)[1])[0];
  };
  document.addEventListener("click", (event) => {
    const picture = event.target.closest(".hits .picture");
    if (!picture || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    show(pictures.indexOf(picture));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (large.open) {
      if (step) { show(shown + step); event.preventDefault(); }
      return;
    }
    const at = pictures.indexOf(document.activeElement);
    if (at < 0) {
      if (step === 1 && pictures.length && document.activeElement === document.body) pictures[0].focus();
      return;
    }
    if (event.key === "Enter" || event.key === " ") show(at);
    else if (step) pictures[at + step]?.focus();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") beside(pictures[at], event.key)?.focus();
    else return;
    event.preventDefault();
  });
  large.addEventListener("close", () => pictures[shown]?.focus());
})();
