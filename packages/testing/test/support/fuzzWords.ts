/** The words that hostile requests are made of: names, tags, digests, upload ids, headers. All are latin1 text. */
import { createHash } from "node:crypto"

export const sha256 = (bytes: Uint8Array | string): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`

export const emptyDigest = sha256("")

const hex = emptyDigest.slice(7)
const long = (text: string, size: number) => text.repeat(Math.ceil(size / text.length)).slice(0, size)

/** None of these is the name of a repository, however it is decoded or put together. */
export const badNames: ReadonlyArray<string> = [
  ..."..|../..|../../../../canary|fuzz/..|fuzz/../known/image|.|./fuzz|fuzz/.|fuzz//a||fuzz/|/fuzz|//".split("|"),
  ..."%2e%2e|%2e%2e%2f%2e%2e|..%2f..%2fcanary|fuzz%2fa|known%2fimage|known%2Fimage|fuzz%2F..%2F..%2Fcanary".split("|"),
  ..."%252e%252e%252f|known%252fimage|%25252e|%c0%ae%c0%ae|%c0%afetc|%e0%80%af|%f0%80%80%af|%u002e%u002e|%|%z|%2".split(
    "|"
  ),
  ..."known/./image|known/image/.|known/x/../image|known//image|known/image%2f|known/image/..;/x|.\x2f.".split("|"),
  ..."fuzz%00|fuzz%00/a|known/image%00|fuzz%0d%0ax-injected:%20yes|fuzz%0aa|fuzz%09a|fuzz%20a|fuzz%7f|fuzz%1b[31m".split(
    "|"
  ),
  ..."Fuzz|FUZZ/A|KNOWN/image|known/Image|fuzz%41|fuzz/\xc3\xa4|fuzz/%c3%a4|%F0%9F%92%A9|%ED%A0%80|%ff%fe|\xff\xfe".split(
    "|"
  ),
  ..."_uploads|_catalog|fuzz/_layout|fuzz/_layout/blobs|fuzz/_tags|known/image/_manifests|tmp/_|__proto__".split("|"),
  ..."-a|a-|a..b|a___b|a.-b|a_.b|.a|a.|~root|*|$(id)|`id`|a;b|a|a\\b|..\\..\\canary|..%5c..%5ccanary|c:|c%3a"
    .split("|")
    .filter((name) => name !== "a"),
  ..."constructor/|fuzz#|fuzz?a=b|fuzz?|@|fuzz@sha256|fuzz:1|[::1]|%5b|'|%22|<script>|{}".split("|"),
  long("a", 256),
  long("a/", 257),
  `fuzz/${long("../", 9_999)}x`,
  `fuzz/${long("%2e%2e%2f", 9_999)}x`,
  `${long("a/", 10_000)}a`,
  long("b", 10_000),
  `${long("c/", 100_000)}c`
]

/** Names that are odd and good. */
export const oddNames: ReadonlyArray<string> =
  "tags/list|blobs|manifests/uploads|blobs/uploads|referrers|con|a.b_c--d__e|%66uzz|0|v2|constructor|nul.txt|healthz"
    .split("|")
    .concat([long("d", 200), long("e/", 179).slice(0, 179)])

export const badDigests: ReadonlyArray<string> = [
  ..."sha256:|:|sha256:.|md5:d41d8cd98f00b204e9800998ecf8427e|sha256:../../../canary|sha256:..%2f..%2fcanary".split(
    "|"
  ),
  `sha256:${hex.slice(1)}`,
  `sha256:${hex}0`,
  `sha256:${hex.toUpperCase()}`,
  `SHA256:${hex}`,
  `sha512:${hex}`,
  `sha1:${hex.slice(0, 40)}`,
  `sha256:${hex.slice(2)}%00`,
  `sha256:${hex}%00`,
  `sha256:${hex}%0a`,
  `sha256:${hex.slice(1)}g`,
  `sha256:${hex.slice(1)}/`,
  `sha256::${hex.slice(1)}`,
  `sha256:${hex}%20`,
  `%20sha256:${hex}`,
  `sha256%2f${hex}`,
  `sha256-${hex}:`,
  `sha256:${long("a", 10_000)}`,
  `sha256:${long("\xd9\xa0", 64)}`,
  `__proto__:${hex}`,
  `constructor:${hex}`
]

/** Neither tags nor digests. */
export const badTags: ReadonlyArray<string> = [
  ..."|.|..|.a|-a|%2e%2e|..%2f..%2fx|a%2fb|a%00|a%0d%0ax-injected:%20yes|%c3%a4|\xe4|a%20b|a+b|a,b|*|~|%|%ff|@|a@b|a\\b".split(
    "|"
  ),
  long("t", 129),
  long("t", 10_000)
]

export const goodTags: ReadonlyArray<string> = [
  ..."latest|v1|1.0.0_x-y|__proto__|constructor|index.json|CON|_".split("|"),
  long("T", 128)
]

export const badUploads: ReadonlyArray<string> = [
  ..."..|%2e%2e|..%2f..%2fcanary|%00|x|*|00000000-0000-0000-0000-00000000000|00000000-0000-0000-0000-0000000000000".split(
    "|"
  ),
  ..."00000000-0000-0000-0000-000000000000%00|0000000A-0000-0000-0000-00000000000G|%ff|__proto__".split("|"),
  long("0", 10_000)
]

export const ranges: ReadonlyArray<string> = [
  ..."bytes=0-|bytes=0-0|bytes=1-1|bytes=-1|bytes=-0|bytes=-|bytes=5-2|bytes=0-1,2-3|bytes=99999999-|bytes=0-99999999999999999999".split(
    "|"
  ),
  ..."bytes=-99999999999999999999|bytes= 0-1|bytes=0 -1|bytes 0-1|octets=0-1|bytes=a-b|bytes=0x0-0xf|bytes=+1-2|bytes=1.5-2|BYTES=0-1".split(
    "|"
  ),
  `bytes=${long("0-0,", 9_000)}1-1`,
  long("bytes=", 9_000)
]

export const contentRanges: ReadonlyArray<string> =
  "0-0|0-3|4-7|3-0|-1-3|0--1|0-|-|bytes 0-3/*|bytes=0-3|bytes 0-3/4|99999999999-99999999999|0-99999999999999999999|a-b|+0-3|0x0-0x3|0-3, 4-7|0 - 3".split(
    "|"
  )

export const queries: ReadonlyArray<string> = [
  ..."|?|?n=0|?n=1|?n=-1|?n=1e9|?n=99999999999|?n=1&n=2|?n=%00|?last=|?last=%00|?last=%ff|?last=../../canary|?n=2&last=%F0%9F%92%A9".split(
    "|"
  ),
  ..."?artifactType=a%2Fb|?artifactType=%0d%0ax-injected:%20yes|?artifactType=&artifactType=x|?__proto__=1|?%|?&&&=|??|?digest-algorithm=md5|?digest-algorithm=sha512|?digest-algorithm=__proto__".split(
    "|"
  ),
  `?${long("a=b&", 9_000)}`,
  `?${long("tag=x&", 9_000)}`,
  `?${long("digest=sha256:0&", 9_000)}`,
  `?last=${long("%F0%9F%92%A9", 9_000)}`
]

export const headers: ReadonlyArray<readonly [string, string]> = [
  ["if-none-match", `"${emptyDigest}"`],
  ["if-none-match", "*"],
  ["if-none-match", long(`"${emptyDigest}",W/"x" , `, 15_000)],
  ["if-none-match", long(",", 15_000)],
  ["accept", long("application/vnd.oci.image.index.v1+json;q=0.1,", 9_000)],
  ["accept-encoding", "gzip, br, deflate, *;q=0"],
  ["authorization", `Basic ${long("QTpC", 9_000)}`],
  ["authorization", "Basic \xff\xfe"],
  ["authorization", "Bearer null"],
  ["cookie", long("a=b; ", 9_000)],
  ["cookie", "%=%; __proto__=x; a=%ff"],
  ["expect", "100-continue"],
  ["x-forwarded-for", "127.0.0.1, ' OR 1=1 --"],
  ["x-http-method-override", "DELETE"],
  ["forwarded", 'for="[::1]";proto=https'],
  ["__proto__", "x"],
  ["constructor", "x"],
  ["traceparent", "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-ff"],
  ["b3", "\xff"],
  ["content-encoding", "gzip"],
  ["content-type", '\xe4/\xff; a="\x80"'],
  ["te", "trailers"],
  ["range", "bytes=0-1"]
]
