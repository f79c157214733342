// Checks of the JavaScript solutions: `node js_checks.js TASK_ID < solution`; exit 0 if it does what its task asks.
// One function per task. Knows nothing of authors or expectations.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");

const checks = {
  debounce({ debounce }) {
    // A clock of our own: timers run when told, in the order of their times.
    let now = 0;
    let timers = [];
    const real = { setTimeout, clearTimeout };
    globalThis.setTimeout = (run, wait) => {
      const timer = { run, at: now + wait };
      timers.push(timer);
      return timer;
    };
    globalThis.clearTimeout = (timer) => {
      timers = timers.filter((other) => other !== timer);
    };
    const advance = (milliseconds) => {
      now += milliseconds;
      const due = timers.filter((timer) => timer.at <= now);
      timers = timers.filter((timer) => timer.at > now);
      due.forEach((timer) => timer.run());
    };
    const seen = [];
    const owner = {
      name: "owner",
      call: debounce(function (...args) {
        seen.push([this && this.name, ...args]);
      }, 50),
    };
    owner.call(1);
    advance(40);
    owner.call(2, 3);
    advance(40);
    assert.deepEqual(seen, []);
    advance(10);
    assert.deepEqual(seen, [["owner", 2, 3]]);
    owner.call(4);
    owner.call.cancel();
    advance(100);
    owner.call(5);
    advance(50);
    assert.deepEqual(seen, [["owner", 2, 3], ["owner", 5]]);
    Object.assign(globalThis, real);
  },

  "event-emitter"({ Emitter }) {
    const emitter = new Emitter();
    const seen = [];
    const off = emitter.on("x", (value) => seen.push(["a", value]));
    emitter.on("x", (value) => seen.push(["b", value]));
    assert.equal(emitter.emit("x", 1), 2);
    assert.deepEqual(seen, [["a", 1], ["b", 1]]);
    off();
    off();
    assert.equal(emitter.emit("x", 2), 1);
    assert.equal(emitter.emit("nothing"), 0);
    assert.equal(new Emitter().emit("x"), 0);

    const once = new Emitter();
    let calls = 0;
    once.once("y", () => {
      calls += 1;
      once.emit("y");
    });
    once.on("y", () => (calls += 10));
    assert.equal(once.emit("y"), 2);
    assert.equal(calls, 21);

    const changing = new Emitter();
    const order = [];
    const offs = [];
    offs.push(changing.on("z", () => { order.push(1); offs[0](); offs[2](); changing.on("z", () => order.push(9)); }));
    offs.push(changing.on("z", () => order.push(2)));
    offs.push(changing.on("z", () => order.push(3)));
    changing.emit("z");
    assert.deepEqual(order, [1, 2, 3]);
    changing.emit("z");
    assert.deepEqual(order, [1, 2, 3, 2, 9]);

    for (const name of ["constructor", "__proto__", "toString"]) {
      const strange = new Emitter();
      assert.equal(strange.emit(name), 0);
      strange.on(name, () => {});
      assert.equal(strange.emit(name), 1);
    }
  },

  "parse-query-string"({ parseQuery }) {
    const cases = [
      ["", []],
      ["?", []],
      ["a=1&b=2", [["a", "1"], ["b", "2"]]],
      ["?a=x+y&&b", [["a", "x y"], ["b", ""]]],
      ["q=%E4%BD%A0%E5%A5%BD&e=1=2", [["q", "你好"], ["e", "1=2"]]],
      ["a=1&a=2&a=3", [["a", ["1", "2", "3"]]]],
      ["a=100%&b=%zz", [["a", "100%"], ["b", "%zz"]]],
      ["toString=1&__proto__=2", [["toString", "1"], ["__proto__", "2"]]],
      ["a=&a=", [["a", ["", ""]]]],
    ];
    for (const [text, entries] of cases) {
      assert.deepEqual(Object.entries(parseQuery(text)), entries, text);
    }
  },

  "rotate-matrix"({ rotate }) {
    const matrix = [[1, 2, 3], [4, 5, 6]];
    const turned = [
      [[1, 2, 3], [4, 5, 6]],
      [[4, 1], [5, 2], [6, 3]],
      [[6, 5, 4], [3, 2, 1]],
      [[3, 6], [2, 5], [1, 4]],
    ];
    for (let turns = -5; turns <= 5; turns++) {
      assert.deepEqual(rotate(matrix, turns), turned[(turns + 8) % 4], String(turns));
    }
    assert.deepEqual(rotate([], 1), []);
    assert.deepEqual(matrix, turned[0]);
    assert.notEqual(rotate(matrix, 0)[0], matrix[0]);
  },
};

const solution = { exports: {} };
new Function("module", "exports", "require", fs.readFileSync(0, "utf8"))(solution, solution.exports, require);
checks[process.argv[2]](solution.exports);
