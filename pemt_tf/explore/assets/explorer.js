"use strict";

// Holds the parts together: which clip one is at, and which one is chosen.
class Explorer {
  constructor() {
    this.table = new ClipTable(JSON.parse(document.getElementById("clip-data").textContent));
    this.grid = new PointGrid(this.table.positions);
    this.view = new MapView();
    this.focused = -1; // where the arrow keys start
    this.cardOf = -1;
    this.announcer = document.getElementById("announcer");
    this.legend = new Legend(this.table.styles, () => this.filter());
    const isShown = (place) => this.legend.hidden[this.table.styleOf[place]] === 0;
    this.drawing = new MapDrawing(this.table, this.grid, this.view, isShown);
    this.details = new Details(this.table, (place, focus) => this.choose(place, focus));
    this.input = new MapInput(this.drawing, this);
    this.search = new SearchBox(this.table, (place) => this.choose(place, "title"), () => this.drawing.overlay.focus());
    document.addEventListener("keydown", (event) => this.onKey(event));
    // The pictures are most of the page; the map is there before they are read.
    setTimeout(() => this.table.addPictures(JSON.parse(document.getElementById("picture-data").textContent)));
  }

  // Shows the card of a clip; -1 for none.
  hover(place) {
    if (place === this.cardOf) {
      return;
    }
    this.cardOf = place;
    this.drawing.hovered = place;
    this.drawing.overlay.classList.toggle("on-clip", place >= 0);
    this.moveCard();
    this.drawing.refreshOverlay();
  }

  moveCard() {
    if (this.cardOf < 0) {
      this.details.hideCard();
      return;
    }
    const [x, y] = [this.table.x(this.cardOf), this.table.y(this.cardOf)];
    this.details.showCard(this.cardOf, this.view.pixelX(x), this.view.pixelY(y));
  }

  // Opens a clip, or closes with -1. focus: where the keyboard goes, "title", "map" or nowhere.
  choose(place, focus = "") {
    this.drawing.chosen = place;
    this.hover(-1);
    if (place >= 0) {
      this.focused = place;
      this.details.showClip(place);
      this.view.show(this.table.x(place), this.table.y(place));
      const count = this.table.neighboursOf(place).length;
      this.announce(`${this.describe(place)}, ${count} neighbours`);
    } else {
      this.details.hideClip();
      this.announce("closed");
    }
    if (focus === "title") {
      this.details.focusTitle();
    } else if (focus === "map") {
      this.drawing.overlay.focus();
    }
    this.drawing.refresh();
  }

  chooseFocused() {
    if (this.focused >= 0) {
      this.choose(this.focused);
    }
  }

  // The keyboard came to the map: it starts at the chosen clip, or at the one nearest to the middle of what is seen.
  focusMap() {
    if (!this.drawing.overlay.matches(":focus-visible")) {
      return; // it was a click
    }
    if (this.focused < 0 || !this.drawing.isShown(this.focused)) {
      this.focused = this.grid.nearest(this.view.centerX, this.view.centerY, 3, this.drawing.isShown);
    }
    this.at(this.focused);
  }

  step(dx, dy) {
    if (this.focused < 0) {
      this.focusMap();
      return;
    }
    const next = this.grid.towards(this.focused, dx, dy, this.drawing.isShown);
    this.at(next >= 0 ? next : this.focused);
  }

  at(place) {
    if (place >= 0) {
      this.focused = place;
      this.view.show(this.table.x(place), this.table.y(place));
      this.drawing.refresh();
      this.cardOf = -1; // the map may have moved below the card
      this.hover(place);
      this.announce(this.describe(place));
    }
  }

  filter() {
    this.hover(-1);
    this.drawing.refresh();
    let shown = 0;
    this.legend.styles.forEach((style, index) => (shown += this.legend.isShown(index) ? style.clips : 0));
    this.announce(`${shown} clips shown`);
  }

  describe(place) {
    return `${this.table.label(place) || "no label"}, clip ${this.table.ids[place]}`;
  }

  announce(text) {
    this.announcer.textContent = text;
  }

  onKey(event) {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.search.focus();
    } else if (event.key === "Escape") {
      if (this.cardOf >= 0 && this.drawing.chosen < 0) {
        this.hover(-1);
      } else if (this.drawing.chosen >= 0) {
        this.choose(-1, "map");
      }
    }
  }
}

window.explorer = new Explorer();
