import Formats
import Pleat
import TestSupport
import Testing

/// Folds with one wrong number that no checksum reveals.
@Suite struct VerifyFoldDamageTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// Two Q4_1 weights of 4 rows of 64 columns and a norm; an adapter changes one weight.
  private func folded() throws -> (
    base: Model, applied: AppliedAdapter, bytes: [UInt8], blocks: Int
  ) {
    var random = Seeded(901)
    func blocks() -> [UInt8] {
      (0..<8).flatMap { _ in
        Numbers.f16(random.weights(2, scale: 0.1)) + random.bytes(16)
      }
    }
    let tensors: [(Toy, typeNumber: UInt32)] = [
      (Toy("a.weight", .u8, [4, 64], bytes: blocks()), 3),
      (Toy("b.weight", .u8, [4, 64], bytes: blocks()), 3),
      (Toy("norm.weight", .f32, [64], seed: 902), 0),
    ]
    let base = try Model.open(
      try folder.scratch.write(ToyFiles.gguf(tensors), as: "base.gguf"))
    let applied = try folder.applied([ToyFactors("a", 4, 2, seed: 903)], pooling: .sum)
    let result = try folder.fold([applied], into: base, to: "out.gguf")
    #expect(try Verification(of: result.model, against: base, adapters: [applied]).holds)
    let bytes = try folder.scratch.bytes(of: "out.gguf")
    let stored = try result.model.part(.blocks, of: "a.weight")
    let first = try #require(
      stride(from: 0, to: bytes.count, by: 32).first {
        Array(bytes[$0..<min(bytes.count, $0 + stored.count)]) == stored
      })
    return (base, applied, bytes, first)
  }

  /// Verifies a file with other bytes, and the pleat file that it is converted to.
  private func verifications(
    _ bytes: [UInt8], _ base: Model, _ applied: AppliedAdapter, tolerance: Double? = nil
  ) throws -> [Verification] {
    let changed = try Model.open(try folder.scratch.write(bytes, as: "changed.gguf"))
    let packed = try folder.convert(changed, to: "changed.pleat")
    defer { try? folder.scratch.remove("changed.pleat") }
    var found: [Verification] = []
    for model in [changed, packed] {
      found.append(
        try Verification(of: model, against: base, adapters: [applied], tolerance: tolerance))
    }
    return found
  }

  private func expectRejected(_ found: [Verification], _ name: String, codes: Int = 0) {
    for verification in found {
      #expect(!verification.holds && verification.faults.isEmpty)
      #expect(verification.comparisons?.first?.name == name)
      #expect(verification.comparisons?.count { !verification.accepts($0) } == 1)
      #expect(verification.fold?.changedCodeCount == codes)
    }
  }

  @Test("a bias that is two F16 steps off is found in every group") func biases() throws {
    let (base, applied, bytes, first) = try folded()
    for block in 0..<8 {
      let offset = first + block * 20 + 2
      var changed = bytes
      // In the direction that does not carry into the next byte.
      changed[offset] = changed[offset] < 128 ? changed[offset] + 2 : changed[offset] - 2
      expectRejected(try verifications(changed, base, applied), "a.weight")
    }
  }

  @Test("a scale with its last bit flipped is found") func scales() throws {
    let (base, applied, bytes, first) = try folded()
    var changed = bytes
    changed[first + 3 * 20] ^= 1
    expectRejected(try verifications(changed, base, applied), "a.weight")
  }

  @Test("a wrong code is found and counted", arguments: [0x01, 0x10, 0x80])
  func codes(mask: UInt8) throws {
    let (base, applied, bytes, first) = try folded()
    var changed = bytes
    changed[first + 5 * 20 + 4 + 7] ^= mask
    expectRejected(try verifications(changed, base, applied), "a.weight", codes: 1)
  }

  @Test(
    "a wrong number in a tensor that no adapter changes is found and listed first",
    arguments: ["b.weight", "norm.weight"])
  func untouched(name: String) throws {
    let (base, applied, bytes, _) = try folded()
    let stored = try #require(try base.parts(name).values.first)
    let start = try #require(
      stride(from: 0, to: bytes.count, by: 32).first {
        Array(bytes[$0..<min(bytes.count, $0 + stored.count)]) == stored
      })
    var changed = bytes
    // The last bit of a bias, or of a plain number.
    changed[start + (name == "b.weight" ? 2 : 0)] ^= 1
    let found = try verifications(changed, base, applied)
    expectRejected(found, name)
    let errors = try #require(found[0].comparisons).map(\.relativeError)
    #expect(errors[0] > 0 && errors[0] < errors[1...].max() ?? 0)
  }

  @Test("with a tolerance, verification compares errors instead of proving the fold")
  func tolerance() throws {
    let (base, applied, bytes, first) = try folded()
    var changed = bytes
    changed[first + 4] ^= 1
    let strict = try verifications(changed, base, applied)
    expectRejected(strict, "a.weight", codes: 1)
    let worst = try #require(strict[0].comparisons).map(\.relativeError).max() ?? 0
    for verification in try verifications(changed, base, applied, tolerance: worst) {
      #expect(verification.holds)
      #expect(verification.comparisons?.first { $0.name == "a.weight" }?.fold?.isProven == false)
    }
    for verification in try verifications(changed, base, applied, tolerance: worst * 0.99) {
      #expect(!verification.holds)
    }
    // A tolerance of 0 does not even permit the rounding of biases.
    for verification in try verifications(bytes, base, applied, tolerance: 0) {
      #expect(!verification.holds)
    }
  }

  // In F32, the arithmetic of the fold itself may be some steps off.
  @Test(
    "a plain weight that is some steps off is found at any index (seed 904)",
    arguments: [(ScalarType.f16, UInt8(2)), (.bf16, 2), (.f32, 16)])
  func plain(type: ScalarType, steps: UInt8) throws {
    let base = try Models.make(
      [Toy("a.weight", type, [4, 64], seed: 904), Toy("b.weight", type, [4, 64], seed: 905)],
      in: folder.scratch, as: "base.safetensors")
    let applied = try folder.applied([ToyFactors("a", 4, 64, seed: 906)])
    let result = try folder.fold([applied], into: base, to: "out.safetensors")
    #expect(try Verification(of: result.model, against: base, adapters: [applied]).holds)
    let size = type.bitWidth / 8
    let values = try result.model.part(.values, of: "a.weight")
    for element in stride(from: 0, to: 256, by: 37) {
      var changed = values
      let low = changed[element * size]
      changed[element * size] = low < 128 ? low + steps : low - steps
      let other = try Models.make(
        [
          Toy("a.weight", type, [4, 64], bytes: changed),
          Toy("b.weight", type, [4, 64], seed: 905),
        ], in: folder.scratch, as: "changed.safetensors")
      let found = try Verification(of: other, against: base, adapters: [applied])
      #expect(!found.holds)
      #expect(found.comparisons?.first?.name == "a.weight")
      #expect(found.comparisons?.first?.fold?.isProven == false, "\(element)")
    }
  }

  @Test(
    "a fold with weights that are not finite is never accepted", arguments: [Float.nan, .infinity])
  func nonFinite(value: Float) throws {
    let base = try Models.make(
      [Toy("a.weight", .f32, [4, 64], seed: 907)], in: folder.scratch, as: "base.safetensors")
    let applied = try folder.applied([ToyFactors("a", 4, 64, seed: 908)])
    let result = try folder.fold([applied], into: base, to: "out.safetensors")
    var values = Numbers.floats(f32: try result.model.part(.values, of: "a.weight"))
    values[77] = value
    let changed = try Models.make(
      [Toy("a.weight", .f32, [4, 64], values)], in: folder.scratch, as: "changed.safetensors")
    for tolerance in [nil, Double.infinity] {
      let found = try Verification(
        of: changed, against: base, adapters: [applied], tolerance: tolerance)
      #expect(!found.holds)
    }
  }

  @Test("extra tensors and other shapes are mismatches; the rest is still proven")
  func mismatches() throws {
    let base = try Models.make(
      [
        Toy("a.weight", .f32, [4, 64], seed: 909), Toy("b.weight", .f32, [4, 64], seed: 910),
      ], in: folder.scratch, as: "base.safetensors")
    let applied = try folder.applied([ToyFactors("a", 4, 64, seed: 911)])
    let result = try folder.fold([applied], into: base, to: "out.safetensors")
    let values = try result.model.part(.values, of: "a.weight")
    let other = try Models.make(
      [
        Toy("a.weight", .f32, [4, 64], bytes: values), Toy("b.weight", .f32, [64, 4], seed: 910),
        Toy("c.weight", .f32, [1], seed: 912),
      ], in: folder.scratch, as: "other.safetensors")
    let found = try Verification(of: other, against: base, adapters: [applied])
    #expect(!found.holds && found.isFaithful)
    #expect(found.mismatches.compactMap(\.tensor) == ["b.weight", "c.weight"])
    #expect(found.comparisons?.map { $0.fold?.isProven } == [true])
  }
}
