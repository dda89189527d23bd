import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Pleat files with an attached adapter, damaged at one position.
@Suite struct AttachedFlipTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// A pleat file with a weight in groups, a norm, and an adapter with a config and a pooling.
  private func file(compresses: Bool) throws -> DamagedFile {
    let source = try scratch.write(
      ToyFiles.safetensors([
        Toy("a.weight", .f16, [2, 64], seed: 1), Toy("norm.weight", .f32, [5], seed: 2),
      ]), as: "model.safetensors")
    let base = try Rewriting.quantize(
      source, to: scratch.path("base.pleat"), compresses: compresses)
    // A factor must be long enough to be compressed.
    var factors = ToyFactors("a", 2, 2, rank: 40, seed: 3)
    factors.b = factors.b.indices.map { Float($0 % 2) }
    try scratch.peft(factors.tensors, "\"rank_pattern\":{\"a\":40}", as: "lora")
    let applied = AppliedAdapter(try AdapterFile.open(scratch.path("lora")), pooling: .mean)
    let path = scratch.path("whole.pleat")
    let plan = try Plan.attaching(
      [applied], names: ["ü"], to: try Model.open(base),
      at: Destination(path: path, format: .pleat, compresses: compresses))
    try Run(plan)()
    let model = try Model.open(path)
    #expect(model.attachedNames == ["ü"])
    #expect(try AdapterFile(attached: "ü", in: model)?.adapter.pooling == .mean)
    let isCompressed = model.reader.stored.suffix(2).contains { $0.storedByteCount < $0.byteCount }
    #expect(isCompressed == compresses)
    return try DamagedFile(try Files.bytes(of: path), as: "flip.pleat", in: scratch)
  }

  @Test("verification finds a flipped bit anywhere", arguments: [(false, 0), (true, 7)])
  func flips(compresses: Bool, bit: Int) throws {
    let file = try file(compresses: compresses)
    let count = try Files.byteCount(of: file.path)
    try file.forEachFlip(of: 1 << bit, in: 0..<count) { offset in
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

  @Test("a file truncated at any byte is refused", arguments: [false, true])
  func truncation(compresses: Bool) throws {
    let file = try file(compresses: compresses)
    try file.forEachTruncation { length in
      let error = Laws.error { () throws(ModelError) in try Model.open(file.path) }
      #expect([.malformed, .unsupported].contains(error?.kind), "\(length) bytes")
    }
  }

  @Test("reading a damaged adapter gives an error or a fault, never a trap")
  func reading() throws {
    let file = try file(compresses: true)
    let model = try Model.open(file.path)
    let whole = try model.reader.stored.indices.map {
      try model.storedBytes($0, 0..<model.reader.stored[$0].byteCount)
    }
    let end = try Files.byteCount(of: file.path)
    try file.forEachFlip(of: 0xFF, in: 64..<end) { offset in
      do throws(ModelError) {
        let damaged = try Model.open(file.path)
        for index in whole.indices {
          let bytes = try damaged.storedBytes(index, 0..<whole[index].count)
          // Verification finds blocks that decompress to other bytes.
          if bytes != whole[index] {
            #expect(try Verification(of: damaged).faults.count == 1, "byte \(offset)")
          }
        }
      } catch {
        #expect(error.kind == .malformed, "byte \(offset): \(error)")
      }
    }
  }
}
