import Foundation
import TestSupport
import Testing

/// Tests of commands that a signal stops.
@Suite struct InterruptionTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Makes a sparse checkpoint of zeros, which takes no disk space, but some time to quantize.
  private func makeModel() throws {
    let (count, byteCount) = (12, 4096 * 4096 * 2)
    let entries = (0..<count).map {
      "\"l.\($0).weight\":{\"dtype\":\"F16\",\"shape\":[4096,4096],"
        + "\"data_offsets\":[\($0 * byteCount),\(($0 + 1) * byteCount)]}"
    }
    let header = Array("{\(entries.joined(separator: ","))}".utf8)
    let path = try scratch.write(
      Numbers.little(UInt64(header.count)) + header, as: "model.safetensors")
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    try handle.truncate(atOffset: UInt64(8 + header.count + count * byteCount))
    try handle.close()
  }

  @Test(
    "a signal stops a run with status 130, and existing files are unchanged",
    arguments: [false, true])
  func signals(isReplacing: Bool) throws {
    try makeModel()
    if isReplacing { try scratch.write("old", as: "out.pleat") }
    let before = try scratch.names()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: CommandCase.products + "/pleat")
    process.arguments = [
      "quantize", "model.safetensors", "--to", "pleat", "-o", "out.pleat", "--force",
    ]
    process.currentDirectoryURL = URL(fileURLWithPath: scratch.folder)
    process.standardError = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    // The run has begun once its folder for unfinished files exists.
    while try process.isRunning && scratch.names() == before { usleep(1000) }
    if isReplacing { process.interrupt() } else { process.terminate() }
    process.waitUntilExit()
    #expect(process.terminationReason == .exit)
    #expect(process.terminationStatus == 130)
    #expect(try scratch.names() == before)
    if isReplacing { #expect(try scratch.bytes(of: "out.pleat") == Array("old".utf8)) }
  }
}
