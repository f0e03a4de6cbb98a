import { assert, describe, it } from "@effect/vitest"
import type { Digest } from "@effect-registry/core"
import * as Mark from "../../src/Gc/Mark.js"
import type { References } from "../../src/Gc/References.js"
import { digestOf } from "../support.js"

const index = digestOf("index")
const image = digestOf("image")
const layer = digestOf("layer")
const signature = digestOf("signature")
const note = digestOf("note")
const lone = digestOf("lone")

const names = (...digests: ReadonlyArray<Digest.Digest>): References => ({ names: digests, subject: undefined })
const refersTo = (subject: Digest.Digest): References => ({ names: [subject], subject })

const graph = new Map([
  [note, refersTo(signature)],
  [signature, refersTo(image)],
  [image, names(layer)],
  [index, names(image)],
  [lone, names(layer)]
])

describe("Mark", () => {
  describe("live", () => {
    it("follows names, subjects, and referrers of referrers", () => {
      assert.deepEqual([...Mark.live(graph, [index])].sort(), [index, image, signature, note].sort())
      assert.deepEqual([...Mark.live(graph, [note])].sort(), [image, signature, note].sort())
      assert.deepEqual([...Mark.live(graph, [lone])], [lone])
      assert.deepEqual([...Mark.live(graph, [layer])], [])
    })
  })

  describe("inOrder", () => {
    it("has parents before children, and images before their signatures", () => {
      const all = new Set(graph.keys())
      assert.deepEqual(
        Mark.inOrder(graph, all).filter((digest) => digest !== lone),
        [index, image, signature, note]
      )
      assert.deepEqual(Mark.inOrder(graph, new Set([signature, image])), [image, signature])
    })
  })

  describe("named", () => {
    it("has every name once", () => {
      assert.deepEqual([...Mark.named(graph)].sort(), [signature, image, layer].sort())
    })
  })
})
