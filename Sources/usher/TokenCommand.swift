import ArgumentParser
import Reactor

/// `usher token`
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make, verify and look at tokens, for development.",
        subcommands: [TokenSignCommand.self, TokenVerifyCommand.self, TokenDecodeCommand.self])
}

/// Where a command's token comes from: the text itself, `@file`, or `-` for the standard input.
enum TokenInput {
    /// Far more than any token that a server accepts.
    static let limitBytes = 1 << 20

    /// The token's bytes without white space around them; the message for the user where it cannot be read.
    static func read(_ argument: String) -> Result<[UInt8], Failure> {
        do throws(Errno) {
            let bytes: [UInt8] =
                if argument == "-" {
                    try FileContents.readStandardInput(limitBytes: limitBytes)
                } else if argument.hasPrefix("@") {
                    try FileContents.read(String(argument.dropFirst()), limitBytes: limitBytes)
                } else {
                    Array(argument.utf8)
                }
            let token = trimmed(bytes)
            return token.isEmpty ? .failure(Failure(message: "the token is empty")) : .success(token)
        } catch {
            return .failure(Failure(message: "cannot read the token from \"\(argument)\": \(error)"))
        }
    }

    /// Why there is no token.
    struct Failure: Error, Equatable {
        let message: String
    }

    /// The bytes without spaces, tabs and line ends around them.
    static func trimmed(_ bytes: [UInt8]) -> [UInt8] {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
        guard let first = bytes.firstIndex(where: { !isSpace($0) }),
            let last = bytes.lastIndex(where: { !isSpace($0) })
        else { return [] }
        return Array(bytes[first...last])
    }
}
