"use strict";

// The card at the pointer, and the panel with the chosen clip, its player and its neighbours.
class Details {
  static CARD_GAP = 14; // pixels between a point and its card

  constructor(table, choose) {
    this.table = table;
    this.choose = choose;
    this.player = new Player(table);
    this.card = document.getElementById("card");
    this.panel = document.getElementById("clip");
    this.welcome = document.getElementById("welcome");
  }

  // Shows the card of a clip beside a place of the map, in pixels.
  showCard(place, x, y) {
    const about = Details.part("p", "about");
    about.append(this.labelOf(place), Details.part("span", "clip-id", this.table.ids[place]));
    this.card.replaceChildren(this.picture(place), about);
    this.card.hidden = false;
    const [width, height] = [this.card.offsetWidth, this.card.offsetHeight];
    const box = this.card.parentElement.getBoundingClientRect();
    const right = x + Details.CARD_GAP + width <= box.width;
    const left = right ? x + Details.CARD_GAP : x - Details.CARD_GAP - width;
    this.card.style.left = Math.min(Math.max(4, left), Math.max(4, box.width - width - 4)) + "px";
    const below = y + Details.CARD_GAP + height <= box.height;
    const top = below ? y + Details.CARD_GAP : y - Details.CARD_GAP - height;
    this.card.style.top = Math.min(Math.max(4, top), Math.max(4, box.height - height - 4)) + "px";
  }

  hideCard() {
    this.card.hidden = true;
  }

  showClip(place) {
    const heading = Details.part("h2", "clip-title", this.table.ids[place]);
    heading.tabIndex = -1;
    const close = Details.part("button", "close", "×");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => this.choose(-1, "map"));
    const row = Details.part("div", "row");
    row.append(heading, close);
    const facts = Details.part("p", "facts");
    facts.append(this.labelOf(place), Details.part("span", "muted", this.placeOf(place)));
    this.panel.replaceChildren(row, this.picture(place), facts, this.player.element(place), ...this.neighbours(place));
    this.panel.hidden = false;
    this.welcome.hidden = true;
    this.panel.parentElement.scrollTop = 0;
    if (matchMedia("(max-width: 760px)").matches) {
      facts.scrollIntoView({ block: "nearest" }); // there it is below the map, of which most stays in sight
    }
  }

  hideClip() {
    this.panel.replaceChildren(); // which also ends playback
    this.panel.hidden = true;
    this.welcome.hidden = false;
  }

  focusTitle() {
    this.panel.querySelector("h2").focus();
  }

  placeOf(place) {
    const parts = [this.table.paths[place]];
    if (this.table.end(place) > this.table.start(place)) {
      parts.push(`${this.table.start(place).toFixed(2)} to ${this.table.end(place).toFixed(2)} s`);
    }
    if (this.table.splits[place]) {
      parts.push(this.table.splits[place]);
    }
    return parts.join(", ");
  }

  neighbours(place) {
    const found = this.table.neighboursOf(place);
    const heading = Details.part("h3", "", "Most like it");
    if (found.length === 0) {
      const reason = this.table.count === 1 ? "There is no other clip." :
        "None: the embedding of this clip, or of all others, is zero and has no direction.";
      return [heading, Details.part("p", "note", reason)];
    }
    const list = Details.part("ol", "near");
    for (const neighbour of found) {
      const item = document.createElement("li");
      item.append(this.neighbour(neighbour));
      list.append(item);
    }
    list.addEventListener("keydown", (event) => Details.moveInList(event, list));
    return [heading, list];
  }

  neighbour({ place, cosine }) {
    const button = Details.part("button", "neighbour");
    button.type = "button";
    button.dataset.place = place;
    const words = Details.part("span", "words");
    words.append(this.labelOf(place), Details.part("span", "clip-id", this.table.ids[place]));
    const value = Details.part("span", "cosine", cosine.toFixed(2));
    value.title = "cosine similarity of the embeddings";
    button.append(this.picture(place), words, value);
    button.addEventListener("click", () => this.choose(place, "title"));
    return button;
  }

  static moveInList(event, list) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...list.querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + (step ?? NaN)];
    if (next !== undefined) {
      event.preventDefault();
      next.focus();
    }
  }

  labelOf(place) {
    const label = this.table.label(place);
    return label === "" ? Details.part("span", "label none", "no label") : Details.part("span", "label", label);
  }

  picture(place) {
    const address = this.table.pictureAddress(place);
    if (address === null) {
      return Details.part("div", "picture no-picture", "no picture in this page");
    }
    const image = Details.part("img", "picture");
    image.src = address;
    image.alt = "Frames and spectrogram of clip " + this.table.ids[place];
    return image;
  }

  static part(tag, name, text) {
    const element = document.createElement(tag);
    if (name) {
      element.className = name;
    }
    if (text !== undefined) {
      element.textContent = text;
    }
    return element;
  }
}
