internal import Foundation
internal import FuzzSupport

// A function of libFuzzer. Its Swift signature matches the C signature.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ argumentCount: UnsafeMutablePointer<Int32>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// Prints the reason and aborts, so that libFuzzer keeps the input.
func stop(_ why: String) -> Never {
  FileHandle.standardError.write(Data("pleat-fuzz: \(why)\n".utf8))
  abort()
}

let readerName = ProcessInfo.processInfo.environment["PLEAT_FUZZ_READER"] ?? ""
guard let reader = FuzzReader(rawValue: readerName) else {
  let names = FuzzReader.allCases.map(\.rawValue).joined(separator: " ")
  print(names)
  exit(readerName.isEmpty ? 0 : 64)
}
do { try Fuzzing.begin(reader) } catch { stop("the reader's files cannot be written: \(error)") }

var argumentCount = CommandLine.argc
var arguments = CommandLine.unsafeArgv
exit(
  runDriver(&argumentCount, &arguments) { bytes, count in
    Fuzzing.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
  })
