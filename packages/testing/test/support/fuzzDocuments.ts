/** Manifests that nobody should send, and some that are good and odd. */
import { gzipSync } from "node:zlib"
import { emptyDigest } from "./fuzzWords.js"

export const imageType = "application/vnd.oci.image.manifest.v1+json"
export const indexType = "application/vnd.oci.image.index.v1+json"

export interface Document {
  readonly type: string | undefined
  readonly bytes: Uint8Array
  /** Whether a registry may only refuse it. */
  readonly bad: boolean
}

const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: emptyDigest, size: 0 }
const image = { schemaVersion: 2, mediaType: imageType, config, layers: [] }
const index = { schemaVersion: 2, mediaType: indexType, manifests: [] }

const json = (value: unknown) => JSON.stringify(value)
const textOf = (fields: string, type = indexType) => `{"schemaVersion":2,"mediaType":"${type}",${fields}}`
const deep = (open: string, close: string, levels = 100_000) => `${open.repeat(levels)}1${close.repeat(levels)}`

const make = (bad: boolean, type: string | undefined, ...texts: ReadonlyArray<string | Uint8Array>): Array<Document> =>
  texts.map((text) => ({ bad, type, bytes: typeof text === "string" ? Buffer.from(text) : text }))

const wrong: ReadonlyArray<unknown> = [null, true, 0, -1, 1.5, "", "x", [], {}, [[]], "__proto__", 1e308]

/** Built once: some are large. `odd` may be taken or refused, `huge` are those past the limit. */
export const documents: { readonly odd: ReadonlyArray<Document>; readonly huge: ReadonlyArray<Document> } = {
  odd: [
    ...make(
      true,
      imageType,
      "",
      "{",
      "null",
      "[]",
      '"x"',
      "1",
      "true",
      "\ufeff{}",
      "{}",
      "\0",
      "{'a':1}",
      "NaN",
      "[1,]",
      "//"
    ),
    ...make(true, indexType, "{}", textOf('"manifests":[1e999]'), textOf('"manifests":{"length":1e9}'), "\xff\xfe{"),
    ...make(true, imageType, deep("[", "]"), deep('{"a":', "}"), textOf(`"layers":${deep("[", "]")}`, imageType)),
    ...make(
      true,
      indexType,
      textOf(`"manifests":[],"subject":${deep('{"subject":', "}")}`),
      deep('{"manifests":[', "]}")
    ),
    ...make(false, indexType, textOf(`"manifests":[],"annotations":{"a":${deep("[", "]")}}`)),
    ...make(
      false,
      "application/x-odd",
      deep("[", "]"),
      deep('{"subject":', "}"),
      deep('{"annotations":', "}"),
      "",
      "\0\0",
      "{"
    ),
    ...make(
      false,
      "application/x-odd",
      Uint8Array.of(0xff, 0xfe, 0xed, 0xa0, 0x80),
      '{"mediaType":"application/x-odd"}'
    ),
    ...make(
      false,
      "application/x-odd",
      `{"annotations":{"a":"\\ud800"},"subject":{"mediaType":"a/b","digest":"${emptyDigest}","size":0}}`
    ),
    ...make(false, indexType, textOf('"manifests":[],"annotations":{"a":"\\ud800\\u0000\\u202e"}')),
    ...make(false, indexType, textOf('"manifests":[],"annotations":{"__proto__":"x","constructor":"y","":""}')),
    ...make(
      false,
      indexType,
      textOf('"manifests":[],"__proto__":{"polluted":"yes"},"constructor":{"prototype":{"polluted":"yes"}}')
    ),
    ...make(false, indexType, '{"schemaVersion":1,"schemaVersion":2,"manifests":[1],"manifests":[]}'),
    ...make(false, indexType, textOf(`"manifests":[],"artifactType":"${"a".repeat(100_000)}"`)),
    ...make(false, indexType, textOf('"manifests":[],"artifactType":"a\\r\\nx-injected: yes"')),
    ...make(false, indexType, json({ ...index, subject: { ...config, digest: `sha256:${"0".repeat(64)}` } })),
    ...make(
      false,
      indexType,
      json({ ...index, subject: config, annotations: { "org.opencontainers.x": "y".repeat(50_000) } })
    ),
    ...make(false, undefined, json(index), json(image), "{}", '{"mediaType":"a/b\\r\\nx-injected: yes"}'),
    ...make(false, "a/b", '{"mediaType":"a/b\\r\\nx-injected: yes"}', '{"mediaType":"c/d"}'),
    ...make(false, "", "{}", json(index)),
    ...make(false, "garbage; ;; =", json(index)),
    ...make(false, `${indexType}; charset=\xff`, json(index)),
    ...make(false, indexType, json({ ...index, manifests: Array(20_000).fill(config) })),
    ...make(true, indexType, gzipSync(json(index)), gzipSync(Buffer.alloc(1 << 20))),
    ...make(true, imageType, json({ ...image, manifests: [] }), json({ ...image, mediaType: indexType })),
    ...make(true, imageType, json({ ...image, config: { ...config, digest: `sha256:${"1".repeat(64)}` } })),
    ...make(true, imageType, json({ ...image, config: { ...config, size: 7 } })),
    ...make(true, imageType, json({ ...image, config: { ...config, digest: "sha256:../../../canary" } })),
    ...make(true, imageType, json({ ...image, layers: [{ ...config, digest: "x" }] })),
    ...make(
      true,
      imageType,
      json(image).replace('"size":0', '"size":-0.5'),
      json(image).replace('"size":0', '"size":1e999')
    ),
    ...make(true, imageType, json(image).replace('"size":0', `"size":${"9".repeat(5000)}`)),
    ...make(
      false,
      "application/vnd.docker.distribution.manifest.v1+prettyjws",
      json({ schemaVersion: 1, signatures: [] })
    ),
    ...wrong.flatMap((value) => [
      ...make(false, imageType, json({ ...image, config: value }), json({ ...image, layers: value })),
      ...make(false, imageType, json({ ...image, layers: [value] }), json({ ...image, subject: value })),
      ...make(false, indexType, json({ ...index, manifests: value }), json({ ...index, manifests: [value] })),
      ...make(
        false,
        indexType,
        json({ ...index, subject: { ...config, digest: value } }),
        json({ ...index, annotations: value })
      ),
      ...make(false, indexType, json({ ...index, annotations: { a: value } }), json({ ...index, artifactType: value })),
      ...make(false, indexType, json({ ...index, mediaType: value }), json({ ...index, schemaVersion: value })),
      ...make(
        false,
        "application/x-odd",
        json({ subject: value, annotations: value, artifactType: value, mediaType: value })
      )
    ])
  ],
  huge: [
    ...make(true, imageType, Buffer.alloc((8 << 20) + 1, " ")),
    ...make(true, "application/x-odd", Buffer.alloc((8 << 20) + 1)),
    ...make(false, "application/x-odd", Buffer.alloc(8 << 20, "["))
  ]
}

/** A small index, another one for each number. */
export const plain = (n: number): Document => ({
  type: indexType,
  bad: false,
  bytes: Buffer.from(json({ ...index, annotations: { n: String(n) } }))
})
