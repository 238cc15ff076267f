"use strict";

// The pixels of one mark, to be copied to many places of a picture. That is ten times as fast as to draw paths or to
// copy canvases, where there is no graphics processor.
class Stamp {
  // image: ImageData with the mark in its middle; rowLength: pixels of a row of the pictures to be stamped.
  constructor(image, rowLength) {
    this.size = image.width;
    this.offsets = []; // of pixels that are fully covered
    this.edges = []; // of those that are covered in part: offset, red, green, blue, share
    const words = new Uint32Array(image.data.buffer);
    for (let index = 0; index < words.length; index++) {
      const [red, green, blue, alpha] = image.data.subarray(4 * index, 4 * index + 4);
      const offset = Math.floor(index / this.size) * rowLength + (index % this.size);
      if (alpha >= 250) {
        this.offsets.push(offset, words[index] | 0);
      } else if (alpha > 8) {
        this.edges.push(offset, red, green, blue, alpha / 255);
      }
    }
    this.offsets = Int32Array.from(this.offsets);
    this.edges = Float32Array.from(this.edges);
  }

  // Copies the mark into a picture, given as words and as bytes, with its upper left corner at a pixel.
  copy(words, bytes, corner) {
    const { offsets, edges } = this;
    for (let index = 0; index < offsets.length; index += 2) {
      words[corner + offsets[index]] = offsets[index + 1];
    }
    for (let index = 0; index < edges.length; index += 5) {
      const place = 4 * (corner + edges[index]);
      const share = edges[index + 4];
      bytes[place] += (edges[index + 1] - bytes[place]) * share;
      bytes[place + 1] += (edges[index + 2] - bytes[place + 1]) * share;
      bytes[place + 2] += (edges[index + 3] - bytes[place + 2]) * share;
    }
  }
}

// The marks of the styles.
class Markers {
  constructor(styles) {
    this.styles = styles;
    this.key = "";
    this.stamps = [];
  }

  static path(context, shape, x, y, radius) {
    context.beginPath();
    if (shape === "triangle") {
      context.moveTo(x, y - 1.2 * radius);
      context.lineTo(x + 1.1 * radius, y + 0.8 * radius);
      context.lineTo(x - 1.1 * radius, y + 0.8 * radius);
    } else if (shape === "square") {
      context.rect(x - 0.9 * radius, y - 0.9 * radius, 1.8 * radius, 1.8 * radius);
    } else if (shape === "diamond") {
      context.moveTo(x, y - 1.2 * radius);
      context.lineTo(x + radius, y);
      context.lineTo(x, y + 1.2 * radius);
      context.lineTo(x - radius, y);
    } else {
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.closePath();
  }

  static draw(context, shape, colour, ground, x, y, radius) {
    Markers.path(context, shape, x, y, radius);
    if (shape === "ring") {
      context.lineWidth = Math.max(1, radius * 0.45);
      context.strokeStyle = colour;
      context.stroke();
      return;
    }
    context.fillStyle = colour;
    context.fill();
    if (radius >= 3) {
      context.lineWidth = 0.75; // keeps marks that overlap apart
      context.strokeStyle = ground;
      context.stroke();
    }
  }

  // One stamp a style. Sizes are in pixels of the page, of which each is pixelRatio pixels of the picture.
  of(radius, dark, ground, pixelRatio, rowLength) {
    const key = [radius, dark, ground, pixelRatio, rowLength].join(" ");
    if (key !== this.key) {
      this.key = key;
      this.size = Math.ceil(2 * (1.3 * radius + 1) * pixelRatio);
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = this.size;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.scale(pixelRatio, pixelRatio);
      const side = this.size / pixelRatio;
      this.stamps = this.styles.map((style) => {
        context.clearRect(0, 0, side, side);
        Markers.draw(context, style.shape, dark ? style.dark : style.light, ground, side / 2, side / 2, radius);
        return new Stamp(context.getImageData(0, 0, this.size, this.size), rowLength);
      });
    }
    return this.stamps;
  }
}
