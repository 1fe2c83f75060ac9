for (const slider of document.querySelectorAll('.slider input')) {
  const stage = slider.closest('.explained').querySelector('.stage');
  const shown = slider.parentElement.querySelector('output');
  const update = () => {
    stage.style.setProperty('--strength', slider.value / 100);
    shown.textContent = slider.value + ' %';
  };
  slider.addEventListener('input', update);
  update();
}
for (const button of document.querySelectorAll('.copy')) {
  const code = button.parentElement.querySelector('code');
  button.hidden = false;
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1600);
  });
}
