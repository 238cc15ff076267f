"use strict";

// Draws the map: the points on one canvas, and what changes with the pointer on another above it.
class MapDrawing {
  constructor(table, grid, view, isShown) {
    this.table = table;
    this.grid = grid;
    this.view = view;
    this.isShown = isShown;
    this.points = document.getElementById("points");
    this.overlay = document.getElementById("overlay");
    this.markers = new Markers(table.styles);
    this.darkScheme = matchMedia("(prefers-color-scheme: dark)");
    this.hovered = -1;
    this.chosen = -1;
    this.drawn = 0; // points of the last frame
    this.milliseconds = 0; // that it took
    this.waiting = { points: false, overlay: false };
    this.darkScheme.addEventListener("change", () => this.refresh());
    new ResizeObserver(() => this.resize()).observe(document.getElementById("map"));
    this.resize();
  }

  resize() {
    const box = document.getElementById("map").getBoundingClientRect();
    this.pixelRatio = Math.min(2, devicePixelRatio || 1);
    for (const canvas of [this.points, this.overlay]) {
      canvas.width = Math.round(box.width * this.pixelRatio);
      canvas.height = Math.round(box.height * this.pixelRatio);
    }
    this.view.resize(box.width, box.height);
    this.drawPoints(); // at once: a canvas that was resized is empty
    this.drawOverlay();
  }

  // Asks for everything to be drawn with the next frame.
  refresh() {
    this.later("points", () => this.drawPoints());
    this.refreshOverlay();
  }

  refreshOverlay() {
    this.later("overlay", () => this.drawOverlay());
  }

  later(what, draw) {
    if (!this.waiting[what]) {
      this.waiting[what] = true;
      requestAnimationFrame(() => {
        this.waiting[what] = false;
        draw();
      });
    }
  }

  // Pixels; few points are drawn larger, and all grow with the zoom.
  get radius() {
    const base = this.table.count > 5000 ? 2.4 : this.table.count > 500 ? 3.4 : 5;
    return Math.round(2 * Math.min(7, base * Math.pow(this.view.zoom, 0.3))) / 2;
  }

  colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  drawPoints() {
    const begin = performance.now();
    const { table, view, pixelRatio } = this;
    const { words, bytes, margin, rowLength, rows } = this.picture();
    const radius = this.radius;
    const stamps = this.markers.of(radius, this.darkScheme.matches, this.colour("--card"), pixelRatio, rowLength);
    // pixel = offset + factor * plane, computed once for all points
    const factor = view.scale * pixelRatio;
    const shift = margin - this.markers.size / 2;
    const offsetX = (view.width / 2) * pixelRatio - view.centerX * factor + shift;
    const offsetY = (view.height / 2) * pixelRatio + view.centerY * factor + shift;
    const [lastX, lastY] = [rowLength - this.markers.size, rows - this.markers.size];
    const reach = (2 * radius) / view.scale;
    this.drawn = 0;
    this.grid.visit(
      view.planeX(0) - reach,
      view.planeY(view.height) - reach,
      view.planeX(view.width) + reach,
      view.planeY(0) + reach,
      (place) => {
        const x = Math.round(offsetX + factor * table.positions[2 * place]);
        const y = Math.round(offsetY - factor * table.positions[2 * place + 1]);
        if (x >= 0 && y >= 0 && x <= lastX && y <= lastY && this.isShown(place)) {
          stamps[table.styleOf[place]].copy(words, bytes, y * rowLength + x);
          this.drawn++;
        }
      },
    );
    this.points.getContext("2d").putImageData(this.image, -margin, -margin);
    this.milliseconds = performance.now() - begin;
  }

  // An empty picture, larger than the canvas by a margin on every side: a mark at the border is cut by the canvas.
  picture() {
    const margin = Math.ceil(24 * this.pixelRatio);
    const [rowLength, rows] = [this.points.width + 2 * margin, this.points.height + 2 * margin];
    if (this.image?.width !== rowLength || this.image?.height !== rows) {
      this.image = new ImageData(rowLength, rows);
      this.words = new Int32Array(this.image.data.buffer);
    }
    const ground = this.colour("--card");
    if (ground !== this.ground) {
      this.ground = ground;
      const context = new OffscreenCanvas(1, 1).getContext("2d");
      context.fillStyle = ground;
      context.fillRect(0, 0, 1, 1);
      this.groundWord = new Int32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
    }
    this.words.fill(this.groundWord);
    return { words: this.words, bytes: this.image.data, margin, rowLength, rows };
  }

  drawOverlay() {
    const context = this.overlay.getContext("2d");
    context.setTransform(this.pixelRatio, 0, 0, this.pixelRatio, 0, 0);
    context.clearRect(0, 0, this.view.width, this.view.height);
    if (this.chosen >= 0) {
      this.drawNeighbours(context);
      this.drawRing(context, this.chosen, this.radius + 5, 3);
    }
    if (this.hovered >= 0 && this.hovered !== this.chosen) {
      this.drawRing(context, this.hovered, this.radius + 3, 2);
    }
  }

  drawNeighbours(context) {
    const { table, view } = this;
    const [fromX, fromY] = [view.pixelX(table.x(this.chosen)), view.pixelY(table.y(this.chosen))];
    context.globalAlpha = 0.65; // the other clips step back
    context.fillStyle = this.colour("--card");
    context.fillRect(0, 0, view.width, view.height);
    const ink = this.colour("--ink");
    for (const { place } of table.neighboursOf(this.chosen)) {
      const [x, y] = [view.pixelX(table.x(place)), view.pixelY(table.y(place))];
      context.globalAlpha = 0.6;
      context.lineWidth = 1;
      context.strokeStyle = ink;
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(x, y);
      context.stroke();
      context.globalAlpha = 1;
      this.drawMark(context, place, x, y);
    }
    this.drawMark(context, this.chosen, fromX, fromY);
  }

  // Neighbours are seen even where the legend hides their label.
  drawMark(context, place, x, y) {
    const style = this.table.styles[this.table.styleOf[place]];
    const colour = this.darkScheme.matches ? style.dark : style.light;
    Markers.draw(context, style.shape, colour, this.colour("--card"), x, y, this.radius + 1.5);
  }

  drawRing(context, place, radius, width) {
    context.beginPath();
    context.arc(this.view.pixelX(this.table.x(place)), this.view.pixelY(this.table.y(place)), radius, 0, 2 * Math.PI);
    context.strokeStyle = this.colour("--ink");
    context.lineWidth = width;
    context.stroke();
  }
}
