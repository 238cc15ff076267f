"use strict";

// What is known of the clips: texts, positions, neighbours, pictures. A clip is named by its place, from 0.
class ClipTable {
  constructor(data) {
    this.ids = data.ids;
    this.paths = data.paths;
    this.splits = data.splits;
    this.styles = data.styles;
    this.media = data.media;
    this.count = data.ids.length;
    this.positions = ClipTable.numbers(data.positions, Float32Array); // x and y in turn, up is positive
    this.styleOf = ClipTable.numbers(data.styleOf, Uint8Array);
    this.labelNames = data.labelNames;
    this.labels = ClipTable.numbers(data.labels, Int32Array);
    this.streams = ClipTable.numbers(data.streams, Uint8Array);
    this.times = ClipTable.numbers(data.times, Float64Array);
    this.neighbourCount = data.neighbourCount;
    this.neighbours = ClipTable.numbers(data.neighbours, Int32Array);
    this.cosines = ClipTable.numbers(data.cosines, Int16Array);
    this.pictures = new Map();
  }

  // Base64 of a little-endian array.
  static numbers(text, Kind) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Kind(bytes.buffer);
  }

  addPictures(data) {
    data.places.forEach((place, index) => this.pictures.set(place, data.jpegs[index]));
    document.body.classList.toggle("without-pictures", this.pictures.size === 0);
  }

  x(place) {
    return this.positions[2 * place];
  }

  y(place) {
    return this.positions[2 * place + 1];
  }

  label(place) {
    return this.labels[place] < 0 ? "" : this.labelNames[this.labels[place]];
  }

  start(place) {
    return this.times[2 * place];
  }

  end(place) {
    return this.times[2 * place + 1];
  }

  hasVideo(place) {
    return (this.streams[place] & 1) !== 0;
  }

  hasAudio(place) {
    return (this.streams[place] & 2) !== 0;
  }

  pictureAddress(place) {
    const jpeg = this.pictures.get(place);
    return jpeg === undefined ? null : "data:image/jpeg;base64," + jpeg;
  }

  // The nearest clips, best first: [{place, cosine}].
  neighboursOf(place) {
    const found = [];
    for (let rank = 0; rank < this.neighbourCount; rank++) {
      const index = place * this.neighbourCount + rank;
      if (this.neighbours[index] >= 0) {
        found.push({ place: this.neighbours[index], cosine: this.cosines[index] / 32767 });
      }
    }
    return found;
  }

  // Where the media file of a clip is; null where that is not known.
  mediaAddress(place) {
    const path = this.paths[place];
    if (path.includes("://")) {
      return null;
    }
    // A byte that is not UTF-8 is written as \xe9 in a name (pemt_tf/files/names.py), and as %e9 in an address.
    const quoted = path.split("/").map(encodeURIComponent).join("/").replace(/%5Cx([0-9a-f]{2})/g, "%$1");
    if (path.startsWith("/")) {
      return "file://" + quoted;
    }
    return this.media === "" ? null : this.media + quoted;
  }

  // Places of clips whose id holds the words, those whose id begins with them first.
  find(words, most) {
    const wanted = words.trim().toLowerCase();
    if (wanted === "") {
      return [];
    }
    this.lowerIds ??= this.ids.map((id) => id.toLowerCase());
    const first = [];
    const others = [];
    for (let place = 0; place < this.count && first.length < most; place++) {
      const at = this.lowerIds[place].indexOf(wanted);
      if (at === 0) {
        first.push(place);
      } else if (at > 0 && others.length < most) {
        others.push(place);
      }
    }
    return [...first, ...others].slice(0, most);
  }
}
