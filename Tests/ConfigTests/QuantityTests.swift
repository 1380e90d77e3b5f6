import Testing

@testable import Config

@Suite struct QuantityTests {
    @Test(arguments: [
        ("250ms", Duration.milliseconds(250)), ("30s", .seconds(30)), ("5m", .seconds(300)),
        ("12h", .seconds(43200)), ("7d", .seconds(604800)), ("0s", .zero), ("007s", .seconds(7)),
    ])
    func durations(text: String, expected: Duration) throws {
        #expect(try Quantity.duration(text) == expected)
    }

    @Test(arguments: [("1B", 1), ("16KiB", 16384), ("10MiB", 10 << 20), ("2GiB", 2 << 30), ("1TiB", 1 << 40)])
    func sizes(text: String, expected: Int) throws {
        #expect(try Quantity.size(text) == expected)
    }

    @Test(arguments: [
        ("30", Quantity.Failure.noUnit(number: "30")), ("", .noNumber), ("s", .noNumber), ("-1s", .noNumber),
        ("1.5s", .unknownUnit(".5s")), ("1 s", .unknownUnit(" s")), ("1h30m", .unknownUnit("h30m")),
        ("99999999999999999999s", .tooLarge), ("9223372036854775807d", .tooLarge), ("1S", .unknownUnit("S")),
    ])
    func whatIsNoDuration(text: String, failure: Quantity.Failure) {
        #expect(throws: failure) { try Quantity.duration(text) }
    }

    @Test(arguments: [("10MB", "MB"), ("10kib", "kib"), ("1K", "K")])
    func whatIsNoSize(text: String, unit: String) {
        #expect(throws: Quantity.Failure.unknownUnit(unit)) { try Quantity.size(text) }
    }

    @Test func quantitiesAreShownInTheirGreatestWholeUnit() {
        #expect(Quantity.text(.seconds(90)) == "90s" && Quantity.text(.seconds(600)) == "10m")
        #expect(Quantity.text(.milliseconds(1500)) == "1500ms" && Quantity.text(.zero) == "0s")
        #expect(Quantity.text(bytes: 16384) == "16KiB" && Quantity.text(bytes: 1000) == "1000B")
    }
}

@Suite struct AddressTextTests {
    @Test(arguments: [
        "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.+4", "", "::1::", ":::", "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", "12345::", "g::", "::1%eth0", "1.2.3.4::", "::1.2.3", ":1",
        "1:",
    ])
    func whatIsNoAddress(text: String) {
        #expect(HostAddress(text: text) == nil)
    }

    @Test(arguments: [
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("64:ff9b::1.2.3.4", "64:ff9b::102:304"), ("0.0.0.0", "0.0.0.0"),
        ("FE80::A", "fe80::a"),
    ])
    func addressesAreShownInOneSpelling(text: String, shown: String) {
        #expect(HostAddress(text: text)?.description == shown)
    }

    @Test func loopback() {
        #expect(
            HostAddress(text: "127.3.2.1")?.isLoopback == true && HostAddress(text: "::1")?.isLoopback == true
        )
        #expect(
            HostAddress(text: "10.0.0.1")?.isLoopback == false
                && HostAddress(text: "::2")?.isLoopback == false)
    }
}

@Suite struct SuggestionTests {
    @Test(arguments: [
        ("adress", "address"), ("ADDRESS", "address"), ("serverz", "servers"), ("upstraem", "upstream"),
    ])
    func aSlipIsRecognised(word: String, expected: String) {
        #expect(Suggestion.nearest(to: word, among: ["servers", "address", "upstream"]) == expected)
    }

    @Test(arguments: ["zzz", "", "xy", "servers"])
    func whatIsFarIsNotSuggested(word: String) {
        #expect(Suggestion.nearest(to: word, among: ["servers", "on"]) == nil)
    }
}
