"use strict";

// Finds points by where they are without looking at all of them: the plane is cut into cells, and the points of a cell
// stand together in one list.
class PointGrid {
  // positions: x and y in turn, from -1 to 1.
  constructor(positions) {
    this.positions = positions;
    this.count = positions.length / 2;
    this.side = Math.max(1, Math.ceil(Math.sqrt(this.count / 2))); // two points a cell, if they were spread evenly
    this.starts = new Uint32Array(this.side * this.side + 1);
    this.places = new Uint32Array(this.count);
    this.examined = 0; // points looked at by the last `nearest`
    const cells = new Uint32Array(this.count);
    for (let place = 0; place < this.count; place++) {
      cells[place] = this.column(positions[2 * place]) + this.side * this.column(positions[2 * place + 1]);
      this.starts[cells[place] + 1]++;
    }
    for (let cell = 0; cell < this.side * this.side; cell++) {
      this.starts[cell + 1] += this.starts[cell];
    }
    const next = this.starts.slice();
    for (let place = 0; place < this.count; place++) {
      this.places[next[cells[place]]++] = place;
    }
  }

  // Column of an x, or row of a y.
  column(value) {
    const column = Math.floor(((value + 1) / 2) * this.side);
    return Math.min(this.side - 1, Math.max(0, column));
  }

  // Calls visit(place) for the points of all cells that touch a rectangle.
  visit(left, bottom, right, top, visit) {
    if (right < -1 || left > 1 || top < -1 || bottom > 1) {
      return;
    }
    const first = this.column(left);
    const last = this.column(right);
    for (let row = this.column(bottom); row <= this.column(top); row++) {
      const end = this.starts[row * this.side + last + 1];
      for (let index = this.starts[row * this.side + first]; index < end; index++) {
        visit(this.places[index]);
      }
    }
  }

  // The nearest point that is accepted, at most `radius` away; -1 if there is none. Of equals the last, drawn on top.
  nearest(x, y, radius, accept) {
    let best = -1;
    let bestSquare = radius * radius;
    this.examined = 0;
    this.visit(x - radius, y - radius, x + radius, y + radius, (place) => {
      this.examined++;
      const across = this.positions[2 * place] - x;
      const up = this.positions[2 * place + 1] - y;
      const square = across * across + up * up;
      if ((square < bestSquare || (square === bestSquare && place > best)) && accept(place)) {
        best = place;
        bestSquare = square;
      }
    });
    return best;
  }

  // The next point in a direction (one of dx, dy is 1 or -1, the other 0): near, and rather straight ahead; -1 if none.
  towards(from, dx, dy, accept) {
    const [x, y] = [this.positions[2 * from], this.positions[2 * from + 1]];
    let best = -1;
    let bestCost = Infinity;
    for (let place = 0; place < this.count; place++) {
      const across = this.positions[2 * place] - x;
      const up = this.positions[2 * place + 1] - y;
      const ahead = across * dx + up * dy;
      const aside = Math.abs(across * dy) + Math.abs(up * dx);
      const cost = ahead + 2 * aside;
      if (ahead > 0 && aside <= ahead && cost < bestCost && accept(place)) {
        best = place;
        bestCost = cost;
      }
    }
    return best;
  }
}
