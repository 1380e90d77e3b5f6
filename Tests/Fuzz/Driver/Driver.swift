import Glibc

/// libFuzzer's own main, of which this program is the caller.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// The target that USHER_FUZZ_TARGET names; a violation aborts, with its text.
nonisolated(unsafe) private let chosen: any FuzzTarget = {
    let name = getenv("USHER_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let type = FuzzTargets.all[name], let target = try? type.init() else {
        print("USHER_FUZZ_TARGET must be one of \(FuzzTargets.all.keys.sorted().joined(separator: ", "))")
        exit(2)
    }
    return target
}()

@main
enum Driver {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        let code = runFuzzer(&count, &arguments) { bytes, count in
            do {
                try chosen.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
            } catch {
                print("VIOLATION: \(error)")
                fflush(nil)
                abort()
            }
            return 0
        }
        exit(code)
    }
}
