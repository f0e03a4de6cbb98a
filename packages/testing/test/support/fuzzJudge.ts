/** Whether an answer is one that the request may get. */
import type { Attack, Target } from "./fuzzGrammar.js"
import { type Answer, isAnswer, type Outcome, show } from "./fuzzSocket.js"

/** The codes of the specification, and those that Docker's registry added. */
const codes: ReadonlySet<string> = new Set(
  "BLOB_UNKNOWN|BLOB_UPLOAD_INVALID|BLOB_UPLOAD_UNKNOWN|DIGEST_INVALID|MANIFEST_BLOB_UNKNOWN|MANIFEST_INVALID|MANIFEST_UNKNOWN|NAME_INVALID|NAME_UNKNOWN|SIZE_INVALID|UNAUTHORIZED|DENIED|UNSUPPORTED|TOOMANYREQUESTS|TAG_INVALID|PAGINATION_NUMBER_INVALID|UNKNOWN".split(
    "|"
  )
)

/** Any request may be refused so: bad syntax, nothing there, no such method, a target or head that is too long. */
const refusals = [400, 404, 405, 414, 431]

/** What each target may answer besides, by method; HEAD is as GET. */
const allowed: Readonly<Record<Target, Readonly<Record<string, ReadonlyArray<number>>>>> = {
  base: { GET: [200] },
  catalog: { GET: [200] },
  tags: { GET: [200] },
  referrers: { GET: [200] },
  operation: { GET: [200] },
  nowhere: { GET: [200], PUT: [413], POST: [413] },
  blob: { GET: [200, 206, 304, 416], DELETE: [202] },
  manifest: { GET: [200, 304], PUT: [201, 412, 413], DELETE: [202, 412] },
  start: { POST: [201, 202, 413, 429] },
  upload: { GET: [204], PATCH: [202, 413, 416], PUT: [201, 413, 416], DELETE: [204] }
}

const everything = [...new Set(Object.values(allowed).flatMap((methods) => Object.values(methods).flat()))]

/** What a parser says of a message that is none, besides. */
const unparsable = [408, 411, 413, 417, 501, 505]

/** What is wrong with this outcome; `undefined` where nothing is. */
export const judge = (attack: Attack, outcome: Outcome): string | undefined => {
  if (outcome === "closed")
    return attack.framing === "broken" ? undefined : "the connection was closed without an answer"
  if (outcome === "silent") return attack.framing === "broken" ? undefined : "no answer"
  if (!isAnswer(outcome)) return `a malformed answer: ${outcome.malformed}`
  const { method, target } = attack
  const own = allowed[target][method === "HEAD" ? "GET" : method] ?? []
  const may = attack.framing === "broken" ? [...refusals, ...unparsable, ...everything] : [...refusals, ...own]
  if (!may.includes(outcome.status)) return `status ${outcome.status}: ${show(outcome.body)}`
  if (attack.refuse && outcome.status < 400) return `status ${outcome.status} where only a refusal is right`
  return judgeAnswer(outcome, method)
}

/** What is wrong with an answer, whatever was asked. */
export const judgeAnswer = ({ body, headers, status }: Answer, method: string): string | undefined => {
  if (headers.has("x-injected")) return "a header of the client's making"
  if (/node_modules|\.cjs|at .+:\d+:\d+|ENOENT|EISDIR|ENOTDIR/.test(body.toString("latin1")))
    return `it tells too much: ${show(body)}`
  if (status < 400 || method === "HEAD") return undefined
  // The parser of the platform refuses without a word, and closes.
  if (body.length === 0 && headers.get("connection") === "close" && status !== 404) return undefined
  if (!/^application\/json/.test(headers.get("content-type") ?? ""))
    return `an error of type ${headers.get("content-type")}`
  return isOciError(body) ? undefined : `not an error of the specification: ${show(body)}`
}

// internal

const isOciError = (body: Buffer): boolean => {
  try {
    const { errors }: { readonly errors?: unknown } = JSON.parse(body.toString("utf8"))
    return (
      Array.isArray(errors) &&
      errors.length > 0 &&
      errors.every(({ code, message }) => codes.has(code) && typeof message === "string" && message.length < 1000)
    )
  } catch {
    return false
  }
}
