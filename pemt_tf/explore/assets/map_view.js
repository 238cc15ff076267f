"use strict";

// Which part of the plane is seen: turns places on the plane into pixels and back.
class MapView {
  static MARGIN = 24; // pixels around the whole
  static MOST_ZOOM = 400;

  constructor() {
    this.width = 1;
    this.height = 1;
    this.reset();
  }

  resize(width, height) {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
  }

  reset() {
    this.zoom = 1;
    this.centerX = 0;
    this.centerY = 0;
  }

  // Pixels of one unit of the plane.
  get scale() {
    const room = Math.min(this.width, this.height) - 2 * MapView.MARGIN;
    return (Math.max(room, 20) / 2) * this.zoom;
  }

  pixelX(x) {
    return this.width / 2 + (x - this.centerX) * this.scale;
  }

  pixelY(y) {
    return this.height / 2 - (y - this.centerY) * this.scale;
  }

  planeX(pixel) {
    return this.centerX + (pixel - this.width / 2) / this.scale;
  }

  planeY(pixel) {
    return this.centerY - (pixel - this.height / 2) / this.scale;
  }

  pan(pixelsRight, pixelsDown) {
    this.centerX -= pixelsRight / this.scale;
    this.centerY += pixelsDown / this.scale;
    this.keepInside();
  }

  // Zooms so that what is under a pixel stays there.
  zoomAt(factor, pixelX, pixelY) {
    const [x, y] = [this.planeX(pixelX), this.planeY(pixelY)];
    this.zoom = Math.min(MapView.MOST_ZOOM, Math.max(1, this.zoom * factor));
    this.centerX += x - this.planeX(pixelX);
    this.centerY += y - this.planeY(pixelY);
    this.keepInside();
  }

  // Moves only if a place is not inside what is seen; where everything is seen it never is.
  show(x, y) {
    const edge = MapView.MARGIN / 2;
    const [across, down] = [this.pixelX(x), this.pixelY(y)];
    if (across < edge || across > this.width - edge || down < edge || down > this.height - edge) {
      this.centerX = x;
      this.centerY = y;
      this.keepInside();
    }
  }

  // The center stays within the map, so that nobody gets lost.
  keepInside() {
    this.centerX = Math.min(1, Math.max(-1, this.centerX));
    this.centerY = Math.min(1, Math.max(-1, this.centerY));
  }
}
