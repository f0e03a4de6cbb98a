/** Data that compresses in different ways, the same bytes on every machine. */

/** A linear congruential generator. */
export const numbers = (seed: number): (() => number) => {
  let x = seed >>> 0
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    return x >>> 8
  }
}
export const kinds: Record<string, (size: number) => Uint8Array> = {
  zeros: (size) => new Uint8Array(size),
  noise: (size) => {
    const next = numbers(1)
    return new Uint8Array(size).map(() => next() & 255)
  },
  /** Nothing finds a pattern in it, not even over megabytes. */
  "white noise": (size) => {
    let x = 2463534242
    return new Uint8Array(size).map(() => {
      x ^= x << 13
      x ^= x >>> 17
      x ^= x << 5
      return x
    })
  },
  "four letters": (size) => {
    const next = numbers(2)
    return new Uint8Array(size).map(() => 97 + (next() & 3))
  },
  words: (size) => {
    const next = numbers(3)
    const words = ["layer", "manifest", "digest", "the ", "of ", "registry", "\n", "0.1.2", "/usr/lib/", "==", "\0\0\0"]
    let text = ""
    while (text.length < size) text += words[next() % words.length]
    return new TextEncoder().encode(text.slice(0, size))
  },
  "noise and zeros by turns": (size) => {
    const next = numbers(4)
    return new Uint8Array(size).map((_, i) => ((i >> 15) & 1 ? next() & 255 : 0))
  },
  "a flat ramp": (size) => new Uint8Array(size).map((_, i) => i & 255),
  "far repeats": (size) => {
    const next = numbers(5)
    const piece = new Uint8Array(32_768).map(() => next() & 255)
    return new Uint8Array(size).map((_, i) => piece[i % piece.length] ?? 0)
  }
}
export const make = (kind: string, size: number): Uint8Array =>
  (kinds[kind] ?? kinds.zeros ?? (() => new Uint8Array()))(size)
