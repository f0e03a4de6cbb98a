import { describe, expect, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { pushBlob, random, send, startUpload, uniqueName } from "./support.js"

/** The samples of a page, by name and labels. */
const samplesOf = (text: string): ReadonlyMap<string, number> =>
  new Map(
    text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))])
  )

const read = Effect.map(send("GET", "/metrics"), ({ text }) => samplesOf(text))

/** How much a sample grew while `use` ran. */
const grown = <A, E, R>(use: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = yield* read
    yield* use
    const after = yield* read
    return (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0)
  })

describe("Metrics", () => {
  it.effect("count requests, times, bytes and blobs", () =>
    Effect.gen(function* () {
      const name = uniqueName()
      const growth = yield* grown(
        Effect.gen(function* () {
          const { digest } = yield* pushBlob(name, random(100_000))
          yield* send("POST", `/v2/${uniqueName()}/blobs/uploads/?mount=${digest}&from=${name}`)
          yield* send("GET", `/v2/${name}/blobs/${digest}`)
          yield* send("PROPFIND", `/v2/${name}/blobs/${digest}`)
        })
      )
      const requests = (method: string, route: string, status: string) =>
        growth(`oci_registry_requests_total{method="${method}",route="${route}",status="${status}"}`)
      expect(requests("POST", "upload_start", "2xx")).toBe(2)
      expect(requests("PUT", "upload_finish", "2xx")).toBe(1)
      expect(requests("GET", "blob_get", "2xx")).toBe(1)
      expect(requests("other", "invalid", "4xx")).toBe(1)
      expect(growth('oci_registry_request_duration_seconds_count{route="blob_get"}')).toBe(1)
      expect(growth('oci_registry_blobs_stored_total{by="upload"}')).toBe(1)
      expect(growth('oci_registry_blobs_stored_total{by="mount"}')).toBe(1)
      for (const bytes of [growth("oci_registry_received_bytes_total"), growth("oci_registry_sent_bytes_total")]) {
        expect(bytes).toBeGreaterThan(100_000)
        expect(bytes).toBeLessThan(120_000)
      }
    }).pipe(Effect.provide(EmbeddedRegistry.layerMemory()))
  )

  it.effect("tell open uploads and the requests in flight, this one among them", () =>
    Effect.gen(function* () {
      yield* startUpload(uniqueName())
      const samples = yield* read
      expect(samples.get("oci_registry_open_uploads")).toBe(1)
      expect(samples.get("oci_registry_requests_in_flight")).toBe(1)
      expect(samples.get("process_resident_memory_bytes")).toBeGreaterThan(1e7)
    }).pipe(Effect.provide(EmbeddedRegistry.layerTemp()))
  )

  it.effect("count garbage collections, but no dry run", () =>
    Effect.gen(function* () {
      const { collect } = yield* EmbeddedRegistry.EmbeddedRegistry
      const growth = yield* grown(Effect.zipRight(collect({ dryRun: true }), collect()))
      expect(growth("oci_registry_gc_runs_total")).toBe(1)
    }).pipe(Effect.provide(EmbeddedRegistry.layerMemory()))
  )

  it.effect("are Effect's own, for whatever exporter there is", () =>
    Effect.gen(function* () {
      yield* send("GET", "/v2/")
      const names = (yield* Metric.snapshot).map(({ metricKey }) => metricKey.name)
      expect(names).toContain("oci_registry_requests_total")
      const answer = yield* send("GET", "/metrics")
      expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8")
    }).pipe(Effect.provide(EmbeddedRegistry.layerMemory()))
  )
})
