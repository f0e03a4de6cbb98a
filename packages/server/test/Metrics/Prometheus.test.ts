import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import { ofProcess, render } from "../../src/Metrics/Prometheus.js"

const snapshot = (prefix: string) =>
  Effect.map(Metric.snapshot, (pairs) => pairs.filter(({ metricKey }) => metricKey.name.startsWith(prefix)))

describe("Prometheus", () => {
  describe("render", () => {
    it.effect("writes each name once, with help, type and all its samples, escaped", () =>
      Effect.gen(function* () {
        const counter = Metric.counter("render_c_total", { description: "Back\\slash\nand line." })
        yield* Metric.incrementBy(Metric.tagged(counter, "a", 'q"\\\n'), 2)
        yield* Metric.incrementBy(Metric.tagged(counter, "a", "2"), 3)
        yield* Metric.set(Metric.gauge("render_a"), 1.5)
        const times = Metric.histogram("render_b_seconds", MetricBoundaries.fromIterable([0.1, 1]), "Times.")
        for (const time of [0.05, 0.5, 0.6, 7]) yield* Metric.update(Metric.tagged(times, "r", "x"), time)
        const text = render(yield* snapshot("render_"))
        const samples = (name: string) => text.split("\n").filter((line) => line.startsWith(name))
        expect(text.split("\n").filter((line) => line.startsWith("#"))).toEqual([
          "# HELP render_a ",
          "# TYPE render_a gauge",
          "# HELP render_b_seconds Times.",
          "# TYPE render_b_seconds histogram",
          "# HELP render_c_total Back\\\\slash\\nand line.",
          "# TYPE render_c_total counter"
        ])
        expect(samples("render_a")).toEqual(["render_a 1.5"])
        expect(samples("render_b")).toEqual([
          'render_b_seconds_bucket{r="x",le="0.1"} 1',
          'render_b_seconds_bucket{r="x",le="1"} 3',
          'render_b_seconds_bucket{r="x",le="+Inf"} 4',
          'render_b_seconds_sum{r="x"} 8.15',
          'render_b_seconds_count{r="x"} 4'
        ])
        expect(samples("render_c").sort()).toEqual(['render_c_total{a="2"} 3', 'render_c_total{a="q\\"\\\\\\n"} 2'])
        expect(text.endsWith("\n")).toBe(true)
      })
    )
  })

  describe("ofProcess", () => {
    it("tells memory and processor time under their usual names", () => {
      expect(ofProcess()).toMatch(/^# HELP process_resident_memory_bytes .*\n# TYPE .* gauge\n\S+ [0-9]{7,}\n/)
      expect(ofProcess()).toMatch(/^process_cpu_seconds_total [0-9.]+$/m)
      expect(ofProcess()).toMatch(/^process_start_time_seconds [0-9]{10}$/m)
    })
  })
})
