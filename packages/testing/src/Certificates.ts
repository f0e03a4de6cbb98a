/** A private certificate authority and what it vouches for, made when a test asks for it: no key lies in the repository. */
// Before x509, which asks for it while it loads.
import "reflect-metadata"
import { chmod, mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as X509 from "@peculiar/x509"
import * as Effect from "effect/Effect"

/** PEM. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

export interface Certificates {
  /** The authority's own certificate, PEM. */
  readonly ca: string
  /** For 127.0.0.1, ::1 and localhost, signed by the authority. */
  readonly server: Pair
  /** As `server`, for other.example alone. */
  readonly otherName: Pair
  /** As `server`, expired an hour ago. */
  readonly expired: Pair
  /** For a client, signed by the authority; its common name is `client`. */
  readonly client: Pair
  /** As `server`, signed by nobody else. */
  readonly selfSigned: Pair
}

/** One set for the whole process: P-256 keys, valid for a day. */
export const make: Effect.Effect<Certificates> = Effect.promise(() => {
  made ??= create()
  return made
})

/** A file of each certificate and key: `server.crt`, `server.key`, `ca.crt` and so on, keys for the owner alone. */
export interface Files {
  readonly ca: string
  readonly server: Pair
  readonly client: Pair
}

/** Writes what a server needs into the folder, and gives the paths. */
export const write = (folder: string): Effect.Effect<Files> =>
  Effect.gen(function* () {
    const { ca, client, server } = yield* make
    const files = {
      ca: join(folder, "ca.crt"),
      server: { cert: join(folder, "server.crt"), key: join(folder, "server.key") },
      client: { cert: join(folder, "client.cert"), key: join(folder, "client.key") }
    }
    yield* Effect.promise(async () => {
      await mkdir(folder, { recursive: true })
      await writeFile(files.ca, ca)
      await writePair(files.server, server)
      await writePair(files.client, client)
    })
    return files
  })

/** Writes a host's folder of Docker's `certs.d` under `root`, with the authority, and a client certificate where asked for, and gives its path. */
export const writeCertsD = (
  root: string,
  host: string,
  options: { readonly client?: boolean | undefined } = {}
): Effect.Effect<string> =>
  Effect.gen(function* () {
    const { ca, client } = yield* make
    const folder = join(root, host)
    yield* Effect.promise(async () => {
      await mkdir(folder, { recursive: true })
      await writeFile(join(folder, "ca.crt"), ca)
      if (options.client === true) {
        await writePair({ cert: join(folder, "client.cert"), key: join(folder, "client.key") }, client)
      }
    })
    return folder
  })

// internal

let made: Promise<Certificates> | undefined

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const
const hour = 3_600_000
const loopback: X509.JsonGeneralNames = [
  { type: "dns", value: "localhost" },
  { type: "ip", value: "127.0.0.1" },
  { type: "ip", value: "::1" }
]

const create = async (): Promise<Certificates> => {
  const keys = await newKeys()
  const ca = await X509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: "CN=effect-registry test authority",
    notBefore: new Date(Date.now() - 48 * hour),
    notAfter: new Date(Date.now() + 24 * hour),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new X509.BasicConstraintsExtension(true, undefined, true),
      new X509.KeyUsagesExtension(X509.KeyUsageFlags.keyCertSign | X509.KeyUsageFlags.cRLSign, true),
      await X509.SubjectKeyIdentifierExtension.create(keys.publicKey)
    ]
  })
  const issuer = { ca, key: keys.privateKey }
  const [server, otherName, expired, client, selfSigned] = await Promise.all([
    leaf({ name: "localhost", names: loopback, issuer }),
    leaf({ name: "other.example", names: [{ type: "dns", value: "other.example" }], issuer }),
    leaf({ name: "localhost", names: loopback, issuer, ends: -hour }),
    leaf({ name: "client", issuer }),
    leaf({ name: "localhost", names: loopback })
  ])
  return { ca: ca.toString("pem"), server, otherName, expired, client, selfSigned }
}

interface Leaf {
  readonly name: string
  /** Of a server; without any it is a client's certificate. */
  readonly names?: X509.JsonGeneralNames
  readonly issuer?: { readonly ca: X509.X509Certificate; readonly key: CryptoKey }
  /** Milliseconds from now. */
  readonly ends?: number
}

const leaf = async ({ ends = 24 * hour, issuer, name, names }: Leaf): Promise<Pair> => {
  const keys = await newKeys()
  const usage = names === undefined ? X509.ExtendedKeyUsage.clientAuth : X509.ExtendedKeyUsage.serverAuth
  const certificate = await X509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${name}`,
    issuer: issuer?.ca.subject ?? `CN=${name}`,
    notBefore: new Date(Date.now() - 24 * hour),
    notAfter: new Date(Date.now() + ends),
    publicKey: keys.publicKey,
    signingKey: issuer?.key ?? keys.privateKey,
    signingAlgorithm: algorithm,
    extensions: [
      new X509.BasicConstraintsExtension(false, undefined, true),
      new X509.KeyUsagesExtension(X509.KeyUsageFlags.digitalSignature, true),
      new X509.ExtendedKeyUsageExtension([usage]),
      ...(names === undefined ? [] : [new X509.SubjectAlternativeNameExtension(names)]),
      ...(issuer === undefined ? [] : [await X509.AuthorityKeyIdentifierExtension.create(issuer.ca)])
    ]
  })
  const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey)
  return { cert: certificate.toString("pem"), key: X509.PemConverter.encode(key, "PRIVATE KEY") }
}

const newKeys = () => crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])

/** Positive and short enough for every reader. */
const serial = (): string => `01${Buffer.from(crypto.getRandomValues(new Uint8Array(12))).toString("hex")}`

const writePair = async (paths: Pair, pair: Pair): Promise<void> => {
  await writeFile(paths.cert, pair.cert)
  await writeFile(paths.key, pair.key, { mode: 0o600 })
  await chmod(paths.key, 0o600)
}
