import Bytes
import Foundation
import Testing

@Suite struct CivilDateTests {
    @Test("every day of 400 years agrees with the calendar, there and back")
    func calendar() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
        for days in stride(from: 0, to: 146_097, by: 17) {
            let date = CivilDate(daysSince1970: days)
            let parts = calendar.dateComponents(
                [.year, .month, .day], from: Date(timeIntervalSince1970: Double(days) * 86_400))
            #expect(date.year == parts.year && date.month == parts.month && date.day == parts.day)
            #expect(date.daysSince1970 == days)
        }
    }
}
