import { assert, describe, it } from "@effect/vitest"
import * as Buffers from "../../src/storage/Buffers.js"

/** A borrower that remembers what it is told. */
const borrower = () => {
  const told: Array<Buffer | "hurry"> = []
  return { told, onBuffer: (buffer: Buffer) => void told.push(buffer), hurry: () => void told.push("hurry") }
}

const taken = (buffers: Buffers.Buffers, who: Buffers.Borrower): Buffer => {
  const buffer = buffers.take(who)
  if (buffer === undefined) throw new Error("there is none")
  return buffer
}

describe("Buffers", () => {
  it("makes so many and no more, and hands out again what comes back", () => {
    const buffers = new Buffers.Buffers(2)
    const [first, second] = [taken(buffers, borrower()), taken(buffers, borrower())]
    assert.notStrictEqual(first, second)
    assert.strictEqual(first.length, Buffers.size)
    assert.instanceOf(first.buffer, SharedArrayBuffer)
    assert.isUndefined(buffers.take(borrower()))
    const again = new Buffers.Buffers(1)
    const only = taken(again, borrower())
    again.giveBack(only)
    assert.strictEqual(taken(again, borrower()), only)
  })

  it("serves those who wait in the order in which they came, also before somebody who comes later", () => {
    const buffers = new Buffers.Buffers(1)
    const buffer = taken(buffers, borrower())
    const [first, second, late] = [borrower(), borrower(), borrower()]
    assert.isUndefined(buffers.take(first))
    assert.isUndefined(buffers.take(second))
    buffers.giveBack(buffer)
    assert.deepEqual(first.told, [buffer])
    assert.isUndefined(buffers.take(late))
    assert.isEmpty(second.told)
    buffers.full(first)
    buffers.giveBack(buffer)
    assert.deepEqual(second.told, [buffer])
  })

  it("asks those who fill slowly to hurry, again and again while somebody waits", async () => {
    const buffers = new Buffers.Buffers(2)
    const [slow, other] = [borrower(), borrower()]
    const buffer = taken(buffers, slow)
    taken(buffers, other)
    const waiting = [borrower(), borrower()]
    for (const each of waiting) buffers.take(each)
    assert.isEmpty(slow.told)
    await new Promise((resolve) => setTimeout(resolve, 60))
    assert.include(slow.told, "hurry")
    assert.include(other.told, "hurry")
    buffers.full(slow)
    buffers.giveBack(buffer)
    await new Promise((resolve) => setTimeout(resolve, 60))
    assert.deepEqual(waiting[0]?.told.slice(0, 2), [buffer, "hurry"])
    for (const each of waiting) buffers.leave(each)
    await new Promise((resolve) => setTimeout(resolve, 30))
    const told = other.told.length
    await new Promise((resolve) => setTimeout(resolve, 60))
    assert.strictEqual(other.told.length, told)
  })

  it("passes over one that waits no more", () => {
    const buffers = new Buffers.Buffers(1)
    const buffer = taken(buffers, borrower())
    const [left, next] = [borrower(), borrower()]
    buffers.take(left)
    buffers.take(next)
    buffers.leave(left)
    buffers.giveBack(buffer)
    assert.deepEqual([left.told, next.told], [[], [buffer]])
  })
})
