// Copying: buttons that put a command on the clipboard.
function copyable(button) {
  button.hidden = false;
  button.addEventListener("click", function () {
    const text = button.dataset.copy;
    const done = () => (button.textContent = "copied");
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => byHand(text, done));
    else byHand(text, done);
  });
}

// Pages from a disk may have no clipboard of their own.
function byHand(text, done) {
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  if (document.execCommand("copy")) done();
  field.remove();
}
