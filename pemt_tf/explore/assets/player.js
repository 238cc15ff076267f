"use strict";

// Plays the stretch of a media file that is a clip.
class Player {
  constructor(table) {
    this.table = table;
  }

  // A button that turns into the player, so that no file is opened before it is asked for.
  element(place) {
    const box = document.createElement("div");
    box.className = "player";
    const address = this.table.mediaAddress(place);
    if (address === null) {
      box.append(Player.note("The file is not on this machine's disks, or its folder is not known. If you have the " +
        "files, make the page again with --media FOLDER."));
      return box;
    }
    const button = document.createElement("button");
    button.type = "button";
    button.className = "play";
    button.textContent = this.table.hasVideo(place) ? "▶ Play the clip" : "▶ Play the sound";
    button.addEventListener("click", () => this.open(box, place, address));
    box.append(button);
    return box;
  }

  open(box, place, address) {
    const [start, end] = [this.table.start(place), this.table.end(place)];
    const player = document.createElement(this.table.hasVideo(place) ? "video" : "audio");
    player.controls = true;
    player.playsInline = true;
    player.setAttribute("aria-label", "Clip " + this.table.ids[place]);
    player.addEventListener("error", () => box.replaceChildren(Player.problem(this.table.paths[place], address)));
    player.addEventListener("loadedmetadata", () => {
      if (player instanceof HTMLVideoElement && this.table.hasVideo(place) && player.videoWidth === 0) {
        box.append(Player.note("This browser cannot show the pictures of this file, only play its sound."));
      }
    });
    player.src = end > start ? `${address}#t=${start},${end}` : address;
    box.replaceChildren(player);
    player.focus();
    player.play().catch(() => undefined); // a browser may want another click
  }

  static problem(path, address) {
    const note = Player.note("This browser cannot play it: the file is gone, or the browser has no decoder for its " +
      "format (many have none for avi, mkv, mpg or HEVC). Open it in a media player: ");
    const link = document.createElement("a");
    link.href = address;
    link.textContent = path;
    note.append(link);
    note.setAttribute("role", "alert");
    return note;
  }

  static note(text) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = text;
    return note;
  }
}
