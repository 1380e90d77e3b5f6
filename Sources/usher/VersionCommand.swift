import ArgumentParser
import Control
import Crypto

/// `usher version`
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Show the versions of usher, Swift and OpenSSL.")

    func run() throws {
        try Console.output("usher \(Version.usher)\nSwift \(Version.swift)\n\(CryptographyLibrary.version)")
    }
}
