// swift-tools-version: 6.2
import PackageDescription

/// With USHER_CHECKS=fuzzer,address all is compiled with these sanitizers and there are two more programs: `fuzz`, in
/// place of the tests that replay its inputs (Tests/Fuzz), and `simulate` (Tests/Simulation).
let sanitizers = Context.environment["USHER_CHECKS"]
let instrumented: [SwiftSetting] =
    sanitizers.map {
        [.unsafeFlags(["-sanitize=\($0)", "-enable-testing", "-Xcc", "-DUSHER_SIMULATION"])]
    } ?? []
let instrumentedC: [CSetting] =
    sanitizers.map {
        [
            .unsafeFlags(["-fsanitize=\($0.replacing("fuzzer", with: "fuzzer-no-link"))"]),
            .define("USHER_SIMULATION"),
        ]
    } ?? []

/// Every target is compiled alike: Swift 6 mode, strict memory safety, and no warning survives.
let strict: [SwiftSetting] =
    instrumented + [
        .strictMemorySafety(),
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableExperimentalFeature("Lifetimes"),
        // Each function can stand where `linkOrder` wants it.
        .unsafeFlags(["-Xfrontend", "-function-sections"], .when(configuration: .release)),
    ]

/// What each request runs stands side by side in the binary, on few pages of memory (`make link-order`).
let linkOrder: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-use-ld=lld", "-Xlinker",
            "--symbol-ordering-file=\(Context.packageDirectory)/Sources/link-order.txt",
            "-Xlinker", "--no-warn-symbol-ordering",
        ], .when(configuration: .release))
]

/// Tests see internals through `@testable`, and import what they like.
let testing: [SwiftSetting] =
    instrumented + [
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("ExistentialAny"),
        .enableExperimentalFeature("Lifetimes"),
    ]

/// One layer of the architecture: a target that imports only what stands below it (Tests/Tidy holds the table).
func layer(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies, exclude: exclude,
        swiftSettings: testing)
}

/// What reads the bytes of others, run on inputs that were found, or by libFuzzer on new ones.
let fuzzInputs = ["seeds", "corpus", "findings", "dictionaries", "README.md", "fuzz.py", "make_seeds.py"]
let fuzzed: [Target.Dependency] = [
    "Bytes", "Crypto", "Redis", "HTTP", "HTTP1", "HTTP2", "JOSE", "Policy", "Config",
]

/// A program of `make fuzz` and `make simulate`.
func check(
    _ name: String, _ dependencies: [Target.Dependency], path: String, exclude: [String] = [],
    sources: [String], with sanitizers: [String]
) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: path, exclude: exclude, sources: sources,
        swiftSettings: testing,
        linkerSettings: [.unsafeFlags(sanitizers.map { "-sanitize=\($0)" } + ["-use-ld=lld"])])
}

let checks: [Target] =
    if let sanitizers {
        [
            check(
                "fuzz", fuzzed, path: "Tests/Fuzz", exclude: fuzzInputs + ["ReplayTests.swift"],
                sources: ["Targets", "Driver"], with: [sanitizers]),
            .target(
                name: "CSimulation", dependencies: ["COpenSSL"], path: "Tests/Simulation/CSimulation"),
            check(
                "simulate",
                [
                    "CNghttp2", "CSimulation", "Bytes", "Crypto", "HTTP", "TLS", "JOSE", "Policy",
                    "Reactor", "Telemetry", "Upstream", "Proxy",
                ],
                path: "Tests/Simulation/Sources", sources: ["."],
                with: sanitizers.split(separator: ",").map(String.init).filter { $0 != "fuzzer" }),
        ]
    } else {
        [
            .testTarget(
                name: "FuzzTests", dependencies: fuzzed, path: "Tests/Fuzz", exclude: fuzzInputs + ["Driver"],
                sources: ["Targets", "ReplayTests.swift"], swiftSettings: testing)
        ]
    }

let package = Package(
    name: "usher",
    products: [.executable(name: "usher", targets: ["usher"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        // Layer 0: C at an address.
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .target(name: "CBytes", cSettings: instrumentedC),
        .target(name: "CLinux", cSettings: instrumentedC),
        // Without OPENSSL_NO_FILENAMES its macros put the path of the source into the binary.
        .target(
            name: "CTLS", dependencies: ["COpenSSL", "CLinux"],
            cSettings: instrumentedC + [.define("OPENSSL_NO_FILENAMES")]),
        .target(name: "CTOML", cxxSettings: [.unsafeFlags(["-std=c++17"])]),
        // Layers 1 to 9.
        layer("Bytes", ["CBytes"]),
        layer("Reactor", ["CLinux", "Bytes"]),
        layer("Crypto", ["COpenSSL", "Bytes"]),
        layer("Redis"),
        layer("HTTP", ["Bytes"]),
        layer("TLS", ["COpenSSL", "CTLS", "Bytes"]),
        layer("HTTP1", ["Bytes", "HTTP"]),
        layer("HTTP2", ["CNghttp2", "Bytes", "HTTP"]),
        layer("JOSE", ["Bytes", "Crypto"]),
        layer("Policy", ["Bytes", "HTTP", "JOSE", "Crypto"]),
        layer("Telemetry", ["Bytes", "Reactor", "HTTP", "JOSE"]),
        layer("Upstream", ["Bytes", "Reactor", "HTTP", "TLS", "Telemetry"]),
        layer(
            "Proxy",
            [
                "Bytes", "Reactor", "Crypto", "HTTP", "TLS", "HTTP1", "HTTP2", "JOSE", "Policy", "Telemetry",
                "Upstream",
            ]),
        layer(
            "Config",
            ["CTOML", "Bytes", "HTTP", "TLS", "JOSE", "Policy", "Upstream", "Proxy", "Crypto", "Reactor"]),
        layer(
            "Control",
            [
                "Bytes", "Reactor", "Crypto", "HTTP", "TLS", "HTTP1", "JOSE", "Policy", "Telemetry",
                "Upstream",
                "Proxy", "Config", "Redis",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(
            name: "usher",
            dependencies: [
                "Bytes", "Crypto", "JOSE", "Policy", "Proxy", "Config", "Control", "Reactor", "HTTP",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict, linkerSettings: linkOrder),
        // Unit tests, beside each target.
        tests("Bytes"),
        tests("Reactor", ["Bytes"]),
        tests("Crypto", ["Bytes"]),
        tests("Redis"),
        tests("HTTP", ["Bytes"]),
        tests("TLS", ["Bytes"]),
        tests("HTTP1", ["Bytes", "HTTP"]),
        tests("HTTP2", ["Bytes", "HTTP", "CNghttp2"]),
        tests("JOSE", ["Bytes", "Crypto"], exclude: ["Vectors"]),
        tests("Policy", ["Bytes", "HTTP", "JOSE", "Crypto"]),
        tests("Telemetry", ["Bytes", "Reactor", "HTTP", "JOSE"]),
        tests("Upstream", ["Bytes", "Reactor", "HTTP", "Telemetry"]),
        tests("Proxy", ["Bytes", "Policy", "Reactor"]),
        tests("Config", ["Policy", "Proxy", "Reactor"]),
        tests(
            "Control",
            [
                "Bytes", "HTTP", "HTTP1", "JOSE", "Config", "Policy", "Proxy", "Reactor", "Redis",
                .product(name: "Logging", package: "swift-log"),
            ]),
        tests("usher", ["Config", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
    ] + checks,
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)
