/** Messages that two readers may understand differently, with a second request hidden in them. */
import { head } from "./fuzzSocket.js"
import { emptyDigest } from "./fuzzWords.js"

/** Repository that a request hidden in another one would make, if it were run. */
export const smuggled = "smuggled/here"

/** The hidden request. */
export const hidden = head("POST", `/v2/${smuggled}/blobs/uploads/?digest=${emptyDigest}`, {
  "content-length": "0"
})

/** A message to a path. */
export type Shape = (verb: string, path: string) => string

const lengths = (...headers: ReadonlyArray<string>): ReadonlyArray<Shape> =>
  headers.map((header) => (verb, path) => `${verb} ${path} HTTP/1.1\r\nhost: x\r\n${header}\r\n\r\n${hidden}`)

/** Bodies in bad chunks; where a reader takes them for complete, what is hidden follows. */
const badChunks = (...bodies: ReadonlyArray<string>): ReadonlyArray<Shape> =>
  bodies.map(
    (body) => (verb, path) =>
      `${verb} ${path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${body}${hidden}`
  )

const lines = (...texts: ReadonlyArray<string>): ReadonlyArray<Shape> =>
  texts.map((text) => (verb, path) => text.replaceAll("VERB", verb).replaceAll("PATH", path))

const covering = String(hidden.length)
const inChunk = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`

/**
 * Messages whose end two readers may see in different places, and messages that are none. In each, `hidden` is either inside
 * the body or behind something that has to be refused: it is never a request.
 */
export const shapes: ReadonlyArray<Shape> = [
  ...lengths(`content-length: ${covering}`, `content-length: ${covering}\r\nexpect: 100-continue`),
  ...lengths(
    "content-length: 0\r\ncontent-length: 10",
    "content-length: 0, 10",
    "content-length: 10\r\ncontent-length: 0"
  ),
  ...lengths(
    "content-length: +0",
    "content-length: -1",
    "content-length: 0x0",
    "content-length: 0_0",
    "content-length: 1e3"
  ),
  ...lengths("content-length: 0 0", "content-length:", "content-length: \x0b0", "content-length : 0"),
  ...lengths(
    "content-length: 99999999999999999999999",
    "content-length: 18446744073709551616",
    "content-length: 1099511627776"
  ),
  ...lengths("content-length: 0\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 0"),
  ...lengths(
    "transfer-encoding: chunked\r\ncontent-length: 0\r\ncontent-length: 0",
    "content-length: 0\r\ntransfer-encoding: identity"
  ),
  ...lengths("transfer-encoding: identity", "transfer-encoding: xchunked", "transfer-encoding: chunked, identity"),
  ...lengths(
    "transfer-encoding: \x0bchunked",
    "transfer-encoding : chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity"
  ),
  ...lengths(
    "transfer-encoding: gzip",
    "transfer-encoding: , chunked",
    'transfer-encoding: "chunked"',
    "transfer-encoding\r\n: chunked"
  ),
  ...lengths(
    "x-colonless",
    ": empty",
    "a b: c",
    "x\x00: y",
    "x: y\x00z",
    "x: y\nz",
    "x: y\rz",
    "content-length: 0\n x"
  ),
  ...badChunks(
    "0\n\n",
    "0\r\n\n",
    "0;\n\r\n",
    "-1\r\n\r\n",
    "+0\r\n\r\n",
    "0x0\r\n\r\n",
    " 0\r\n\r\n",
    "g\r\n\r\n",
    "\r\n\r\n",
    "00000000000000000\r\n"
  ),
  ...badChunks(
    "5\r\nabc\r\n0\r\n\r\n",
    "3\r\nabcde\r\n0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "10000000000000000\r\n",
    "0;a=\x00b\r\n\r\n",
    "0 \n\r\n"
  ),
  ...badChunks(
    "5;\nabcde\r\n0\r\n\r\n",
    "1\ra0\r\n\r\n",
    "1\r\na\n0\n\n",
    "1\r\naX\r\n0\r\n\r\n",
    `${"0".repeat(20_000)}\r\n`,
    "0\r\nx: y\n\n"
  ),
  (verb, path) => `${verb} ${path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${inChunk}`,
  (verb, path) => `${verb} ${path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, chunked\r\n\r\n${inChunk}`,
  (verb, path) => `${verb} ${path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n${inChunk}`,
  (verb, path) => `${verb} ${path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding:\r\n chunked\r\n\r\n${inChunk}`,
  (verb, path) => `${verb} ${path} HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n${inChunk}`,
  ...lines(
    "VERB PATH HTTP/1.1\nhost: x\n\n",
    "VERB PATH\r\n\r\n",
    "VERB PATH HTTP/0.9\r\n\r\n",
    "VERB PATH HTTP/2.0\r\nhost: x\r\n\r\n"
  ),
  ...lines(
    "GET PATH HTTP/1.1\r\nhost: x\r\n\tx: y\r\n folded\r\n\r\n",
    "VERB PATH HTTP/1.0\r\n\r\n",
    "VERB PATH HTTP/1.1\r\n\r\n",
    "VERB  PATH HTTP/1.1\r\nhost: x\r\n\r\n",
    "VERB PATH HTTP/1.1 \r\nhost: x\r\n\r\n"
  ),
  ...lines(
    "VERB\tPATH\tHTTP/1.1\r\nhost: x\r\n\r\n",
    "VERB PATH HTTP/1.10\r\nhost: x\r\n\r\n",
    "VERB PATH http/1.1\r\nhost: x\r\n\r\n"
  ),
  ...lines(
    "get PATH HTTP/1.1\r\nhost: x\r\n\r\n",
    "G\x00T PATH HTTP/1.1\r\nhost: x\r\n\r\n",
    "\r\n\r\n\r\nGET PATH HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
  ),
  ...lines(
    "VERB PATH HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n",
    "GET PATH HTTP/1.1\r\nhost: a b\x7f/\\\r\nconnection: close\r\n\r\n"
  ),
  ...lines(
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    "CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    "CONNECT PATH HTTP/1.1\r\nhost: x\r\n\r\n"
  ),
  ...lines(
    "OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "\0\0\0\0",
    "SSH-2.0-x\r\n",
    "{}\r\n\r\n"
  ),
  ...lines(
    "VERB PATH HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
  ),
  ...lines(
    "VERB PATH HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n\x81\x85abcd"
  ),
  ...lines("VERB PATH HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 4\r\n\r\nabcd"),
  ...lines(
    `GET PATH HTTP/1.1\r\nhost: x\r\n${"x: y\r\n".repeat(5_000)}\r\n`,
    `GET PATH HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(100_000)}\r\n\r\n`
  ),
  ...lines(
    "GET PATH HTTP/1.1\r\nhost: x\r\nexpect: the unexpected\r\nconnection: close\r\n\r\n",
    "PATCH PATH HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nshort"
  ),
  ...lines(
    "PUT PATH HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-odd\r\ncontent-length: 1073741824\r\n\r\n{",
    "PUT PATH HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n40000000\r\n{"
  ),
  ...lines(
    "PUT PATH HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, content-length\r\ncontent-length: 2\r\n\r\n{}",
    "VERB PATH HTTP/1.1\r\nhost: x"
  )
]
