/** How registries are reached: which one is meant without a host, and the settings of each. */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Reference from "./model/Reference.js"
import { ValidationError } from "./ValidationError.js"

export interface HostOptions {
  /** `true`: HTTP, `false`: HTTPS. Default: the scheme of `url` where it names this host, HTTPS where `usesTls`, HTTP for loopback, else HTTPS. */
  readonly plainHttp?: boolean | undefined
  /** Sent with every request to the registry itself, never to another origin. What can be no header is left out. Default: none. */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /**
   * Registries that hold copies, `https://mirror.example` or `https://mirror.example/path`: images are read from them in
   * this order, and from the host itself where none has them. One that does not work is left out for the rest of the
   * operation. Nothing is written to a mirror, and lists, tags and single blobs are the host's own. Default: none.
   */
  readonly mirrors?: ReadonlyArray<string> | undefined
}

export interface RetryOptions {
  /** Attempts for one request, the first included. Default 5; 1 switches retries off. */
  readonly attempts?: number | undefined
  /** Wait before the second attempt, doubled for each further one, with jitter. Default 500 milliseconds. */
  readonly delay?: Duration.DurationInput | undefined
  /** The longest such wait. Default 8 seconds. */
  readonly maxDelay?: Duration.DurationInput | undefined
  /** Waiting that one operation may add up without progress; a Retry-After may exceed it. Default 30 seconds. */
  readonly budget?: Duration.DurationInput | undefined
}

export interface Options {
  /** The registry of references without a host, `http://localhost:15000`. Default: none, and such references mean docker.io. */
  readonly url?: string | undefined
  /** Settings by `host[:port]`. */
  readonly hosts?: Readonly<Record<string, HostOptions>> | undefined
  /** Blobs in flight. Default 5. */
  readonly concurrency?: number | undefined
  readonly retry?: RetryOptions | undefined
  /** Longest wait for the headers of an answer, from the last byte of the request on. Default 15 minutes for uploads, `stallTimeout` else. */
  readonly responseTimeout?: Duration.DurationInput | undefined
  /** Silence that ends a transfer while bytes are due; slow but moving is never cut. Default 60 seconds. */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /** Bytes of a chunk where an upload goes in chunks. Default 16 MiB, at least 5 MiB. */
  readonly chunkSize?: number | undefined
  /** Uploads of more bytes than this can go on where they stopped. Default 32 MiB. */
  readonly resumeAbove?: number | undefined
  /** A further say on every URL that a registry hands out; `false` refuses it. Default: none. */
  readonly allowUrl?: ((url: URL) => boolean) | undefined
  /** Whether a host without a setting of its own speaks TLS although it is a loopback address. Default: none does. */
  readonly usesTls?: ((host: string) => boolean) | undefined
  /** Default `effect-registry`. */
  readonly userAgent?: string | undefined
}

export interface Service {
  readonly url: Option.Option<string>
  readonly hosts: Readonly<Record<string, HostOptions>>
  readonly concurrency: number
  readonly retry: {
    readonly attempts: number
    readonly delay: Duration.Duration
    readonly maxDelay: Duration.Duration
    readonly budget: Duration.Duration
  }
  readonly responseTimeout: Option.Option<Duration.Duration>
  readonly stallTimeout: Duration.Duration
  readonly chunkSize: number
  readonly resumeAbove: number
  readonly allowUrl: (url: URL) => boolean
  readonly usesTls: (host: string) => boolean
  readonly userAgent: string
}

export class RegistryConfig extends Context.Tag("@effect-registry/core/RegistryConfig")<RegistryConfig, Service>() {}

/** Spec section "Pushing a blob in chunks": registries may refuse smaller chunks than S3 takes. */
const minChunkSize = 5 * 1024 * 1024

export const make = (options: Options = {}): Service => ({
  url: Option.fromNullable(options.url),
  hosts: options.hosts ?? {},
  concurrency: Math.max(1, options.concurrency ?? 5),
  retry: {
    attempts: Math.max(1, options.retry?.attempts ?? 5),
    delay: Duration.decode(options.retry?.delay ?? "500 millis"),
    maxDelay: Duration.decode(options.retry?.maxDelay ?? "8 seconds"),
    budget: Duration.decode(options.retry?.budget ?? "30 seconds")
  },
  responseTimeout: Option.map(Option.fromNullable(options.responseTimeout), Duration.decode),
  stallTimeout: Duration.decode(options.stallTimeout ?? "60 seconds"),
  chunkSize: Math.max(minChunkSize, options.chunkSize ?? 16 * 1024 * 1024),
  resumeAbove: Math.max(0, options.resumeAbove ?? 32 * 1024 * 1024),
  allowUrl: options.allowUrl ?? (() => true),
  usesTls: options.usesTls ?? (() => false),
  userAgent: options.userAgent ?? "effect-registry"
})

export const layer = (options: Options = {}): Layer.Layer<RegistryConfig> =>
  Layer.succeed(RegistryConfig, make(options))

/** The layer with `url` from EREG_REGISTRY or REGISTRY_URL, where `options` have none. */
export const layerConfig = (options: Options = {}): Layer.Layer<RegistryConfig, ConfigError.ConfigError> =>
  Layer.effect(
    RegistryConfig,
    Effect.map(
      Config.option(Config.orElse(Config.string("EREG_REGISTRY"), () => Config.string("REGISTRY_URL"))),
      (url) => make({ ...options, url: options.url ?? Option.getOrUndefined(url) })
    )
  )

/** A registry's API: where it is, and what references call it. */
export interface Endpoint {
  /** `host[:port]` as in references. */
  readonly host: string
  /** `http://localhost:15000`, without a trailing slash. */
  readonly origin: string
}

/** The endpoint of a host; `None` is the configured registry, or Docker Hub. Fails with `InvalidReference` on a malformed `url`. */
export const endpoint = (config: Service, host: Option.Option<string>): Effect.Effect<Endpoint, ValidationError> =>
  Effect.gen(function* () {
    const configured = Option.isSome(config.url) ? yield* parseUrl(config.url.value) : undefined
    const name = Option.getOrElse(host, () => configured?.host ?? Reference.dockerHub)
    if (name === Reference.dockerHub) return { host: name, origin: "https://registry-1.docker.io" }
    const setting = config.hosts[name]?.plainHttp
    const named = configured && !configured.isBare && isAt(name, configured) ? configured.origin : undefined
    const plain =
      setting ?? (named === undefined ? !config.usesTls(name) && isLoopback(name) : named.startsWith("http:"))
    return { host: name, origin: `${plain ? "http" : "https"}://${name}` }
  })

/** A mirror's endpoint, and the path below which it holds repositories. Fails with `InvalidReference`. */
export const mirror = (
  config: Service,
  text: string
): Effect.Effect<{ readonly endpoint: Endpoint; readonly path: string }, ValidationError> =>
  Effect.gen(function* () {
    const [, scheme = "", host = "", path = ""] = /^([a-z]+:\/\/)?([^/]*)(.*)$/i.exec(text) ?? []
    const named = yield* parseUrl(`${scheme}${host}`)
    const found = scheme === "" ? yield* endpoint(config, Option.some(named.host)) : named
    return { endpoint: found, path: path.replace(/^\/(?:v2\/?$)?|\/$/g, "") }
  })

/** The headers that go to this host alone. What can be none is left out: a client would repeat it in its error. */
export const headersOf = (config: Service, host: string): Record<string, string> =>
  Object.fromEntries(
    Object.entries(config.hosts[host]?.headers ?? {})
      .map(([name, value]) => [name.toLowerCase(), typeof value === "string" ? value : Redacted.value(value)] as const)
      .filter(([name, value]) => /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name) && /^[\t\x20-\x7e]*$/.test(value))
  )

/**
 * The endpoint of `HOST[:PORT]`, or of a URL whose scheme then counts; without one the configured registry, or Docker
 * Hub. Fails with `InvalidReference`.
 */
export const find = (host: string | undefined): Effect.Effect<Endpoint, ValidationError, RegistryConfig> =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig
    if (host === undefined) return yield* endpoint(config, Option.none())
    if (host.includes("://")) return yield* endpoint({ ...config, url: Option.some(host) }, Option.none())
    const named = hostName(host)
    if (Option.isSome(named)) return yield* endpoint(config, named)
    return yield* Effect.fail(
      ValidationError.of(
        "InvalidReference",
        JSON.stringify(Reference.masked(host)),
        "is no host name with an optional port",
        {
          hint: "a registry is given as HOST[:PORT], http://HOST:PORT or https://HOST"
        }
      )
    )
  })

/** `HOST[:PORT]` as references have it; `None` where it is no such name. */
export const hostName = (text: string): Option.Option<string> => {
  if (text.includes("/")) return Option.none()
  // A capital makes any name a host in the grammar of references, and references lower it again.
  const name = Reference.isHost(text) ? text : `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`
  return Option.flatMap(Either.getRight(Reference.parse(`${name}/x`)), ({ host }) => host)
}

/** Whether a `url` is configured. */
export const hasRegistry = (config: Service): boolean => Option.isSome(config.url)

/** 127.0.0.0/8, ::1, localhost and *.localhost, with or without a port. */
export const isLoopback = (host: string): boolean => {
  const name = host.startsWith("[") ? host.slice(1, host.indexOf("]")) : (host.split(":", 1)[0] ?? "")
  return name === "localhost" || name.endsWith(".localhost") || name === "::1" || /^127(?:\.\d{1,3}){3}$/.test(name)
}

// internal

/** Whether a reference's host names this endpoint: with or without the port that its scheme implies. */
const isAt = (host: string, { origin }: Endpoint): boolean => {
  const url = `${new URL(origin).protocol}//${host}`
  return URL.canParse(url) && new URL(url).origin === origin
}

/** Accepts `http://host:port`, `https://host` and a bare `host:port`, which names no scheme: its origin is a guess. */
const parseUrl = (text: string): Effect.Effect<Endpoint & { readonly isBare: boolean }, ValidationError> => {
  const bare = !/^[a-z][a-z0-9+.-]*:\/\//i.test(text)
  const fail = (message: string) =>
    Effect.fail(
      ValidationError.of("InvalidReference", JSON.stringify(Reference.masked(text)), message, {
        hint: "a registry is given as http://HOST:PORT, https://HOST or HOST[:PORT]"
      })
    )
  const guess = bare ? `${isLoopback(text.toLowerCase()) ? "http" : "https"}://${text}` : text
  if (!URL.canParse(guess)) return fail("is no registry URL")
  const url = new URL(guess)
  if (url.protocol !== "http:" && url.protocol !== "https:") return fail("a registry is reached by http or https")
  if (url.username !== "" || url.password !== "") return fail("credentials do not belong into the registry's URL")
  if (url.pathname.replace(/\/(v2\/?)?$/, "") !== "" || url.search !== "" || url.hash !== "") {
    return fail("a registry has no path, its API is at /v2/")
  }
  if (url.hostname === "docker.io" || url.hostname === "index.docker.io" || url.hostname === "registry-1.docker.io") {
    return Effect.succeed({ host: Reference.dockerHub, origin: "https://registry-1.docker.io", isBare: bare })
  }
  return Effect.succeed({ host: url.host, origin: url.origin, isBare: bare })
}
