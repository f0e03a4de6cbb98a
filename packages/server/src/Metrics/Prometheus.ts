/** Metrics in Prometheus' text format. https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format */
import type * as MetricPair from "effect/MetricPair"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"

/** What the answer is called. */
export const contentType = "text/plain; version=0.0.4; charset=utf-8"

/** Counters, gauges and histograms; one block of lines for each name. */
export const render = (pairs: Iterable<MetricPair.MetricPair.Untyped>): string => {
  const families = new Map<string, Array<string>>()
  for (const { metricKey, metricState } of pairs) {
    const type = typeOf(metricState)
    if (type === undefined) continue
    let lines = families.get(metricKey.name)
    if (lines === undefined) {
      lines = header(
        metricKey.name,
        type,
        Option.getOrElse(metricKey.description, () => "")
      )
      families.set(metricKey.name, lines)
    }
    const labels = metricKey.tags.map(({ key, value }) => `${key}="${escapeLabel(value)}"`)
    lines.push(...samples(metricKey.name, labels, metricState))
  }
  return [...families.keys()]
    .sort()
    .flatMap((name) => families.get(name) ?? [])
    .map((line) => `${line}\n`)
    .join("")
}

/** Memory and processor time of this process, under the names that Prometheus' own clients use. */
export const ofProcess = (): string => {
  const { heapUsed, rss } = process.memoryUsage()
  const { system, user } = process.cpuUsage()
  const started = Date.now() / 1000 - process.uptime()
  const rows = [
    ["process_resident_memory_bytes", "gauge", "Memory of the process.", rss],
    ["process_cpu_seconds_total", "counter", "Processor time used, of user and system.", (user + system) / 1e6],
    ["process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.", Math.round(started)],
    ["nodejs_heap_size_used_bytes", "gauge", "JavaScript objects in memory.", heapUsed]
  ] as const
  return rows
    .flatMap(([name, type, help, value]) => [...header(name, type, help), `${name} ${value}`])
    .map((line) => `${line}\n`)
    .join("")
}

// internal

type State = MetricState.MetricState.Untyped

const typeOf = (state: State) =>
  MetricState.isHistogramState(state)
    ? "histogram"
    : MetricState.isCounterState(state)
      ? "counter"
      : MetricState.isGaugeState(state)
        ? "gauge"
        : undefined

const header = (name: string, type: string, help: string): Array<string> => [
  `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`,
  `# TYPE ${name} ${type}`
]

const samples = (name: string, labels: ReadonlyArray<string>, state: State): ReadonlyArray<string> => {
  const sample = (suffix: string, value: number | bigint, ...more: ReadonlyArray<string>) => {
    const all = [...labels, ...more]
    return `${name}${suffix}${all.length === 0 ? "" : `{${all.join(",")}}`} ${value}`
  }
  if (!MetricState.isHistogramState(state)) {
    return MetricState.isCounterState(state) || MetricState.isGaugeState(state)
      ? [sample("", MetricState.isCounterState(state) ? state.count : state.value)]
      : []
  }
  return [
    ...state.buckets
      .filter(([boundary]) => Number.isFinite(boundary))
      .map(([boundary, count]) => sample("_bucket", count, `le="${boundary}"`)),
    sample("_bucket", state.count, `le="+Inf"`),
    sample("_sum", state.sum),
    sample("_count", state.count)
  ]
}

const escapeLabel = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"')
