"use strict";

// The search by id, with suggestions that the arrow keys go through.
class SearchBox {
  static MOST = 12;

  constructor(table, chosen, closed) {
    this.table = table;
    this.chosen = chosen;
    this.closed = closed;
    this.input = document.getElementById("search");
    this.list = document.getElementById("suggestions");
    this.active = -1;
    this.input.addEventListener("input", () => this.suggest());
    this.input.addEventListener("focus", () => this.suggest());
    this.input.addEventListener("blur", () => this.hide());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    // Before the input loses the focus, and with it the list.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.take(event.target.closest("[data-place]")));
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  suggest() {
    const found = this.table.find(this.input.value, SearchBox.MOST);
    this.list.replaceChildren(...found.map((place, index) => this.suggestion(place, index)));
    if (found.length === 0 && this.input.value.trim() !== "") {
      const nothing = Details.part("li", "nothing", "No clip on this map has such an id.");
      nothing.setAttribute("role", "option");
      nothing.setAttribute("aria-disabled", "true");
      this.list.append(nothing);
    }
    this.list.hidden = this.list.children.length === 0;
    this.input.setAttribute("aria-expanded", String(!this.list.hidden));
    this.mark(found.length > 0 ? 0 : -1);
  }

  suggestion(place, index) {
    const item = Details.part("li", "", this.table.ids[place]);
    item.id = "suggestion-" + index;
    item.dataset.place = place;
    item.setAttribute("role", "option");
    return item;
  }

  mark(index) {
    this.active = index;
    [...this.list.children].forEach((item, each) => item.setAttribute("aria-selected", String(each === index)));
    if (index >= 0) {
      this.input.setAttribute("aria-activedescendant", "suggestion-" + index);
      this.list.children[index].scrollIntoView({ block: "nearest" });
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  hide() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.mark(-1);
  }

  take(item) {
    if (item) {
      this.hide();
      this.chosen(Number(item.dataset.place));
    }
  }

  onKey(event) {
    const items = this.list.querySelectorAll("[data-place]");
    if (event.key === "Enter" && !this.list.hidden) {
      event.preventDefault();
      this.take(items[this.active]);
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && items.length > 0 && !this.list.hidden) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.mark((this.active + step + items.length) % items.length);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.input.value = "";
      this.hide();
      this.closed();
    }
  }
}
