/** Fixtures, contract suites and fault injection for effect-registry's own tests. */
export * as DockerRegistry from "./DockerRegistry.js"
export * as Fixture from "./Fixture.js"
export * as ImageStoreSuite from "./suites/ImageStoreSuite.js"
export * as TarBytes from "./TarBytes.js"
export * as TarRead from "./TarRead.js"
export * as TcpProxy from "./TcpProxy.js"
export * as Tools from "./Tools.js"
export * as Walk from "./Walk.js"
