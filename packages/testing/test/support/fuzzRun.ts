/** Sends what the grammar makes over several connections, and collects what should not have been. */
import * as Effect from "effect/Effect"
import * as Grammar from "./fuzzGrammar.js"
import { judge, judgeAnswer } from "./fuzzJudge.js"
import * as Socket from "./fuzzSocket.js"
import { random } from "./process.js"

export interface Options {
  readonly port: number
  readonly seed: number
  /** Requests that are judged, of all lanes together. */
  readonly requests: number
  readonly lanes: number
  readonly known: Grammar.Known
  /** Asked between requests now and then; what it says is a finding. */
  readonly check: () => Promise<string | undefined>
}

export interface Report {
  readonly judged: number
  /** How often each status came, and `closed`. */
  readonly outcomes: ReadonlyMap<string, number>
  readonly findings: ReadonlyArray<string>
}

/** More than these say nothing new. */
const mostFindings = 50

/** Every lane has its own connections, repositories and random numbers, so that it is the same whatever the others do. */
export const run = (options: Options): Effect.Effect<Report> =>
  Effect.promise(async () => {
    const outcomes = new Map<string, number>()
    const findings: Array<string> = []
    let judged = 0
    const note = (attack: Grammar.Attack, outcome: Socket.Outcome, where: string) => {
      judged += 1
      const key =
        typeof outcome === "string" ? outcome : Socket.isAnswer(outcome) ? String(outcome.status) : "malformed"
      outcomes.set(key, (outcomes.get(key) ?? 0) + 1)
      const wrong = judge(attack, outcome)
      if (wrong !== undefined) findings.push(`${where} ${attack.target} ${Socket.show(attack.bytes)}\n  → ${wrong}`)
    }
    const each = Math.ceil(options.requests / options.lanes)
    await Promise.all(Array.from({ length: options.lanes }, (_, at) => lane(options, at, each, note, findings)))
    return { judged, outcomes, findings }
  })

// internal

type Note = (attack: Grammar.Attack, outcome: Socket.Outcome, where: string) => void

const lane = async (options: Options, at: number, requests: number, note: Note, findings: Array<string>) => {
  const { check, known, port, seed } = options
  const pool: Grammar.Pool = { uploads: [], digests: [] }
  const next = Grammar.make(seed, at, known, pool)
  const dice = random(seed * 1000 + at + 500)
  let connection = await Socket.open(port)
  let done = 0
  let nextCheck = 100
  const stored: Array<NonNullable<Grammar.Attack["stored"]>> = []

  const learn = (attack: Grammar.Attack, outcome: Socket.Outcome) => {
    if (!Socket.isAnswer(outcome)) return
    const location = outcome.headers.get("location")
    if (outcome.status === 202 && location?.includes("/blobs/uploads/")) {
      pool.uploads.unshift(location)
      pool.uploads.length = Math.min(pool.uploads.length, 5)
    }
    if (outcome.status === 201 && attack.stored !== undefined) {
      stored.push(attack.stored)
      pool.digests.unshift(attack.stored.path.slice(-71))
      pool.digests.length = Math.min(pool.digests.length, 5)
    }
    // What a client deletes itself need not be there.
    if (attack.method === "DELETE" && outcome.status === 202) stored.length = 0
  }

  const alone = async (attack: Grammar.Attack, where: string) => {
    const other = await Socket.open(port)
    const pieces = dice() < 0.3 ? 3 : 1
    for (let n = 0; n < pieces; n++) {
      const [from, to] = [n, n + 1].map((part) => Math.floor((attack.bytes.length * part) / pieces))
      other.send(attack.bytes.subarray(from, to))
      if (pieces > 1) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const outcome = await other.answer(attack.method, 200)
    note(attack, outcome, where)
    learn(attack, outcome)
    for (let more = outcome; Socket.isAnswer(more); ) {
      more = await other.answer("GET", 5)
      const wrong = Socket.isAnswer(more) ? judgeAnswer(more, "GET") : undefined
      if (wrong !== undefined) findings.push(`${where} ${Socket.show(attack.bytes)}\n  → second answer: ${wrong}`)
    }
    other.halfClose()
    if (!(await other.closed(20_000)))
      findings.push(`${where} ${Socket.show(attack.bytes)}\n  → the connection stays open`)
    other.destroy()
  }

  const together = async (attacks: ReadonlyArray<Grammar.Attack>, where: string) => {
    connection.send(Buffer.concat(attacks.map(({ bytes }) => bytes)))
    for (const [n, attack] of attacks.entries()) {
      const outcome = await connection.answer(attack.method)
      note(attack, outcome, `${where}+${n}`)
      learn(attack, outcome)
      // What was sent behind it is not answered.
      if (Socket.isAnswer(outcome) && outcome.headers.get("connection") !== "close") continue
      connection.destroy()
      connection = await Socket.open(port)
      return n + 1
    }
    return attacks.length
  }

  const readBack = async () => {
    const wanted = stored.at(-1)
    if (wanted === undefined) return
    const outcome = await Socket.request(port, "GET", wanted.path)
    if (Socket.isAnswer(outcome) && outcome.status === 200 && outcome.body.equals(wanted.bytes)) return
    findings.push(`lane ${at}: ${wanted.path} was taken and is not there: ${JSON.stringify(outcome)}`)
  }

  while (done < requests && findings.length < mostFindings) {
    const where = `seed ${seed} lane ${at} request ${done}:`
    const attack = next()
    if (attack.framing === "broken") {
      await alone(attack, where)
      done += 1
    } else {
      const batch = [attack]
      const size = dice() < 0.5 ? 1 : Math.ceil(dice() * 8)
      while (batch.length < size) {
        const another = next()
        if (another.framing === "plain") batch.push(another)
      }
      done += await together(batch, where)
    }
    if (done >= nextCheck) {
      nextCheck = done + 100
      await readBack()
      const wrong = await check()
      if (wrong !== undefined) findings.push(`${where} ${wrong}`)
    }
  }
  connection.destroy()
}
