"use strict";

// The labels with their marks: a click hides or shows one, a double click or Shift and click shows it alone.
class Legend {
  constructor(styles, changed) {
    this.styles = styles;
    this.changed = changed;
    this.hidden = new Uint8Array(styles.length);
    this.all = document.getElementById("show-all");
    this.all.addEventListener("click", () => this.show(() => true));
    this.buttons = styles.map((style, index) => this.entry(style, index));
    const list = document.getElementById("legend");
    for (const button of this.buttons) {
      const item = document.createElement("li");
      item.append(button);
      list.append(item);
    }
  }

  entry(style, index) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = style.name + "\nClick: hide or show. Double click: this one alone.";
    const name = document.createElement("span");
    name.className = style.is_label ? "name" : "name rest";
    name.textContent = style.name;
    const count = document.createElement("span");
    count.className = "count";
    count.textContent = style.clips.toLocaleString("en");
    button.append(this.mark(style, true), this.mark(style, false), name, count);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", (event) => (event.shiftKey ? this.only(index) : this.toggle(index)));
    button.addEventListener("dblclick", () => this.only(index));
    return button;
  }

  // Both themes are drawn; the style sheet shows one.
  mark(style, dark) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 32;
    canvas.className = dark ? "mark on-dark" : "mark on-light";
    canvas.setAttribute("aria-hidden", "true");
    const context = canvas.getContext("2d");
    Markers.draw(context, style.shape, dark ? style.dark : style.light, "transparent", 16, 16, 11);
    return canvas;
  }

  isShown(index) {
    return this.hidden[index] === 0;
  }

  toggle(index) {
    this.show((each) => (each === index ? !this.isShown(each) : this.isShown(each)));
  }

  only(index) {
    this.show((each) => each === index);
  }

  show(isShown) {
    this.hidden = Uint8Array.from(this.styles, (_, index) => (isShown(index) ? 0 : 1));
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(this.isShown(index))));
    this.all.hidden = this.hidden.every((hidden) => hidden === 0);
    this.changed();
  }
}
