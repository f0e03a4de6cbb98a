/**
 * What the registry counts, as Effect metrics: any exporter of yours has them, and `GET /metrics` prints them for
 * Prometheus. They belong to the process: two registries in one count together.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricLabel from "effect/MetricLabel"
import type { Collected } from "./Gc.js"
import * as Prometheus from "./Metrics/Prometheus.js"
import type { Route } from "./Route.js"

/** What became of a request. */
export interface Outcome {
  readonly method: string
  readonly route: Route["_tag"] | undefined
  /** `undefined` where nothing was answered. */
  readonly status: number | undefined
  /** Milliseconds. */
  readonly duration: number
  /** Bytes. */
  readonly received: number
  /** Bytes. */
  readonly sent: number
}

/** Counts a request at its end. */
export const ended = ({ duration, method, received, route, sent, status }: Outcome): void => {
  const name = routes[route ?? "Invalid"]
  const kind = status === undefined ? "none" : `${Math.floor(status / 100)}xx`
  requests.unsafeUpdate(1, labels("method", methods.has(method) ? method : "other", "route", name, "status", kind))
  durations.unsafeUpdate(duration / 1000, labels("route", name))
  if (received > 0) receivedBytes.unsafeUpdate(received, none)
  if (sent > 0) sentBytes.unsafeUpdate(sent, none)
}

/** A request more, or less (-1), is being answered. */
export const inFlight = (change: 1 | -1): void => requestsInFlight.unsafeModify(change, none)

/** A blob came into a repository. */
export const blobStored = (by: "upload" | "mount"): void => blobsStored.unsafeUpdate(1, labels("by", by))

/** A password was checked, or was not because too many wait. */
export const passwordChecked = (matches: boolean | undefined): void => {
  const result = matches === undefined ? "busy" : matches ? "right" : "wrong"
  passwordChecks.unsafeUpdate(1, labels("result", result))
}

/** A garbage collection ended. */
export const collected = ({ blobs, bytes, manifests, uploads }: Collected): void => {
  gcRuns.unsafeUpdate(1, none)
  gcBytes.unsafeUpdate(bytes, none)
  for (const [kind, count] of Object.entries({ blob: blobs, manifest: manifests, upload: uploads })) {
    gcRemoved.unsafeUpdate(count, labels("kind", kind))
  }
}

/** The page for Prometheus. `open` is the number of unfinished uploads, where that is known. */
export const page = (open: number | undefined): Effect.Effect<string> =>
  Effect.sync(() => {
    if (open !== undefined) openUploads.unsafeUpdate(open, none)
    const own = Metric.unsafeSnapshot().filter(({ metricKey }) => metricKey.name.startsWith(prefix))
    return Prometheus.render(own) + Prometheus.ofProcess()
  })

// internal

const prefix = "oci_registry_"

const counter = (name: string, description: string) =>
  Metric.counter(`${prefix}${name}`, { description, incremental: true })

const requests = counter("requests_total", "Requests answered, by method, kind of route and class of status.")
const durations = Metric.histogram(
  `${prefix}request_duration_seconds`,
  MetricBoundaries.fromIterable([0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300]),
  "Time from the headers of a request to the end of its answer."
)
const receivedBytes = counter("received_bytes_total", "Bytes that came over connections, headers included.")
const sentBytes = counter("sent_bytes_total", "Bytes that went over connections, headers included.")
const requestsInFlight = Metric.gauge(`${prefix}requests_in_flight`, { description: "Requests being answered." })
const openUploads = Metric.gauge(`${prefix}open_uploads`, { description: "Uploads that are not finished." })
const blobsStored = counter("blobs_stored_total", "Blobs that came into a repository, by upload or by mount.")
const passwordChecks = counter("password_checks_total", "Passwords computed, and those refused because too many wait.")
const gcRuns = counter("gc_runs_total", "Garbage collections.")
const gcBytes = counter("gc_freed_bytes_total", "Bytes freed by garbage collection.")
const gcRemoved = counter("gc_removed_total", "What garbage collection removed, by kind.")

const none: ReadonlyArray<MetricLabel.MetricLabel> = []

// An array of labels is found again by its identity, so each is made once. All values come from short lists of ours.
const known = new Map<string, ReadonlyArray<MetricLabel.MetricLabel>>()

const labels = (...pairs: ReadonlyArray<string>): ReadonlyArray<MetricLabel.MetricLabel> => {
  const key = pairs.join(" ")
  let found = known.get(key)
  if (found === undefined) {
    found = pairs.flatMap((name, index) => (index % 2 === 0 ? [MetricLabel.make(name, pairs[index + 1] ?? "")] : []))
    known.set(key, found)
  }
  return found
}

const methods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])

const routes: Readonly<Record<Route["_tag"], string>> = {
  Base: "base",
  Health: "health",
  Metrics: "metrics",
  Catalog: "catalog",
  TagList: "tag_list",
  BlobGet: "blob_get",
  BlobDelete: "blob_delete",
  UploadStart: "upload_start",
  UploadStatus: "upload_status",
  UploadAppend: "upload_append",
  UploadFinish: "upload_finish",
  UploadCancel: "upload_cancel",
  ManifestGet: "manifest_get",
  ManifestPut: "manifest_put",
  ManifestDelete: "manifest_delete",
  Referrers: "referrers",
  Invalid: "invalid"
}
