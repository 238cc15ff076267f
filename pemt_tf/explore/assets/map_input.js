"use strict";

// Pointer, wheel, fingers and keys on the map.
class MapInput {
  static REACH = 12; // pixels from a point within which it is meant
  static DRAG = 4; // pixels after which a press is a drag, not a click
  static ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  constructor(drawing, explorer) {
    this.drawing = drawing;
    this.view = drawing.view;
    this.explorer = explorer;
    this.pointers = new Map();
    this.moved = 0;
    const canvas = drawing.overlay;
    canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    canvas.addEventListener("pointermove", (event) => this.onMove(event));
    canvas.addEventListener("pointerup", (event) => this.onUp(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.explorer.hover(-1));
    canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.onKey(event));
    canvas.addEventListener("focus", () => this.explorer.focusMap());
    canvas.addEventListener("blur", () => this.explorer.hover(-1));
    document.getElementById("zoom-in").addEventListener("click", () => this.zoom(1.5));
    document.getElementById("zoom-out").addEventListener("click", () => this.zoom(1 / 1.5));
    document.getElementById("zoom-all").addEventListener("click", () => this.zoomAll());
  }

  // The point that is meant by a place of the canvas, -1 for none.
  hit(x, y, reach = MapInput.REACH) {
    const { grid, isShown } = this.drawing;
    return grid.nearest(this.view.planeX(x), this.view.planeY(y), reach / this.view.scale, isShown);
  }

  onDown(event) {
    this.drawing.overlay.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.moved = this.pointers.size > 1 ? Infinity : 0; // two fingers never click
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (before === undefined) {
      if (event.pointerType !== "touch") {
        this.explorer.hover(this.hit(event.offsetX, event.offsetY));
      }
      return;
    }
    const [right, down] = [event.offsetX - before[0], event.offsetY - before[1]];
    const distance = this.spread();
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.moved += Math.hypot(right, down);
    if (this.moved <= MapInput.DRAG) {
      return;
    }
    this.explorer.hover(-1);
    this.view.pan(right / this.pointers.size, down / this.pointers.size);
    if (this.pointers.size === 2 && distance > 0) {
      const [[ax, ay], [bx, by]] = [...this.pointers.values()];
      this.view.zoomAt(this.spread() / distance, (ax + bx) / 2, (ay + by) / 2);
    }
    this.drawing.refresh();
  }

  // Pixels between two fingers.
  spread() {
    const [first, second] = [...this.pointers.values()];
    return second === undefined ? 0 : Math.hypot(first[0] - second[0], first[1] - second[1]);
  }

  onUp(event) {
    const wasDown = this.pointers.delete(event.pointerId);
    if (wasDown && this.moved <= MapInput.DRAG) {
      const reach = event.pointerType === "touch" ? 2 * MapInput.REACH : MapInput.REACH;
      const place = this.hit(event.offsetX, event.offsetY, reach);
      if (place >= 0) {
        this.explorer.choose(place);
      }
    }
  }

  onWheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 100 : event.deltaY / 3;
    this.view.zoomAt(Math.pow(1.25, -Math.max(-3, Math.min(3, lines))), event.offsetX, event.offsetY);
    this.explorer.hover(this.hit(event.offsetX, event.offsetY));
    this.drawing.refresh();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const direction = MapInput.ARROWS[event.key];
    if (direction !== undefined) {
      this.explorer.step(...direction);
    } else if (event.key === "Enter" || event.key === " ") {
      this.explorer.chooseFocused();
    } else if (event.key === "+" || event.key === "=") {
      this.zoom(1.5);
    } else if (event.key === "-") {
      this.zoom(1 / 1.5);
    } else if (event.key === "0") {
      this.zoomAll();
    } else {
      return;
    }
    event.preventDefault();
  }

  // Around the clip that one is at, or else around the middle.
  zoom(factor) {
    const place = this.explorer.focused;
    const { table } = this.drawing;
    const around = place >= 0 ? [this.view.pixelX(table.x(place)), this.view.pixelY(table.y(place))]
      : [this.view.width / 2, this.view.height / 2];
    this.view.zoomAt(factor, ...around);
    this.explorer.moveCard();
    this.drawing.refresh();
  }

  zoomAll() {
    this.view.reset();
    this.explorer.moveCard();
    this.drawing.refresh();
  }
}
