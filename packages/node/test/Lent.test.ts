import { assert, describe, it } from "@effect/vitest"
import * as Lent from "../src/Lent.js"

describe("Lent", () => {
  it("takes a buffer back once, through any view of it", () => {
    let back = 0
    const bytes = Lent.lend(new Uint8Array(8), () => back++)
    Lent.giveBack(Buffer.from(bytes.buffer, 2, 4))
    Lent.giveBack(bytes)
    assert.strictEqual(back, 1)
  })

  it("leaves other buffers alone", () => {
    Lent.giveBack(new Uint8Array(8))
  })
})
