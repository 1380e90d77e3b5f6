import Bytes
import Config
import HTTP
import HTTP1

@testable import Policy

/// The PROXY protocol: in pieces as at once, and what is taken is as long as it says.
final class ProxyHeaderTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        let whole = ProxyHeader.read(input.span)
        for count in 0..<min(input.count, 600) {
            let part = ProxyHeader.read(input.span.extracting(0..<count))
            switch (part, whole) {
            case (.incomplete, _): continue
            case (.header(let bytes, _), _):
                try demand(bytes <= count && part == whole, "\(part) of \(count) bytes, then \(whole)")
            case (.malformed, .malformed): break
            default: throw Violation(description: "\(part) of \(count) bytes, then \(whole)")
            }
            break
        }
        guard case .header(let count, let source) = whole else { return }
        try demand(count <= input.count && count <= ProxyHeader.maximumByteCount, "longer than it can be")
        try demand(source?.isNone != true, "an address that is none")
    }
}

/// H8: addresses that other proxies tell.
final class ForwardedTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        let host = array(AddressReader.host(of: input.span))
        try demand(host.count <= input.count, "longer than the element")
        _ = AddressReader.read(host.span)
        let text = String(decoding: input, as: UTF8.self)
        _ = IPAddress(text)
        guard let block = AddressBlock(text) else { return }
        _ = block
    }
}

/// A configuration: mistakes are told, never more.
final class ConfigurationTarget: FuzzTarget {
    private struct NoFiles: FileSource {
        func read(path: String) -> FileReading { .missing }
    }

    init() {}

    func run(_ input: [UInt8]) throws {
        let environment = ["SECRET": String(repeating: "s", count: 40), "N": "1"]
        let loaded = Configuration.load(
            text: input, path: "usher.toml", environment: environment, files: NoFiles())
        try demand(loaded.hasErrors == (loaded.configuration == nil), "neither a configuration nor an error")
        let text = loaded.render()
        try demand(loaded.diagnostics.isEmpty == text.isEmpty, "a diagnostic without a text")
        // Diagnostics show lines of the file as they are, so the secret must not stand there by chance.
        let secret = String(repeating: "s", count: 40)
        guard !String(decoding: input, as: UTF8.self).contains(secret) else { return }
        try demand(!text.contains(secret), "a secret in a diagnostic")
    }
}
