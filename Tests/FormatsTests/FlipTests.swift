import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Files with one damaged byte.
///
/// A damaged header without a checksum may still be valid, but reading it must not trap.
@Suite struct FlipTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  @Test(
    "a flipped byte in a header gives an error or a readable model",
    arguments: TruncationTests.files)
  func goldenHeaders(name: String) throws {
    let bytes = try Fixtures.bytes(name)
    let file = try DamagedFile(bytes, as: "flip." + Files.suffix(of: name), in: scratch)
    let header = try headerByteCount(of: file.path, bytes.count)
    for mask: UInt8 in [0x01, 0xFF] {
      try file.forEachFlip(of: mask, in: 0..<header) { offset in
        do throws(ModelError) {
          try Model.open(file.path).readEverything()
        } catch {
          #expect(
            [.malformed, .unsupported].contains(error.kind), "byte \(offset) ^ \(mask): \(error)")
        }
      }
    }
  }

  /// The length of the header: all bytes before those of the tensors.
  private func headerByteCount(of path: String, _ byteCount: Int) throws -> Int {
    let model = try Model.open(path)
    return byteCount - model.tensorByteCount
  }

  @Test(
    "verification finds a flipped bit anywhere in a pleat file", arguments: [false, true], 0..<8)
  func pleatFiles(compresses: Bool, bit: Int) throws {
    let source = try SmallModel.safetensors(in: scratch)
    let path = try Rewriting.quantize(
      source, to: scratch.path("whole.pleat"), compresses: compresses)
    let bytes = try Files.bytes(of: path)
    let file = try DamagedFile(bytes, as: "flip.pleat", in: scratch)
    try file.forEachFlip(of: 1 << bit, in: bytes.indices) { offset in
      let isFound: Bool
      do throws(ModelError) {
        isFound = try !Verification(of: try Model.open(file.path)).holds
      } catch {
        isFound = error.kind == .malformed || error.kind == .unsupported
      }
      #expect(isFound, "bit \(bit) of byte \(offset)")
    }
    #expect(try Verification(of: try Model.open(file.path)).holds)
  }

  @Test("reading a damaged compressed block gives an error or a fault, never a trap")
  func compressedBlocks() throws {
    let weights = [Toy("a.weight", .f16, [40, 64], [Float](repeating: 0.25, count: 40 * 64))]
    let source = try scratch.write(ToyFiles.safetensors(weights), as: "a.safetensors")
    let path = try Rewriting.convert(
      source, to: scratch.path("a.pleat"), .pleat, compresses: true)
    let bytes = try Files.bytes(of: path)
    let whole = try Model.open(path).partBytes(of: 0)
    let file = try DamagedFile(bytes, as: "flip.pleat", in: scratch)
    try file.forEachFlip(of: 0xFF, in: bytes.indices) { offset in
      do throws(ModelError) {
        let model = try Model.open(file.path)
        let parts = try model.partBytes(of: 0)
        // Verification finds blocks that decompress to other bytes.
        if parts != whole {
          #expect(try Verification(of: model).faults.count == 1, "byte \(offset)")
        }
      } catch {
        #expect(error.kind == .malformed, "byte \(offset): \(error)")
      }
    }
  }
}
