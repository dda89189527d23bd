import Formats
import Pleat
import TestSupport
import Testing

/// Folds with one number changed, which a checksum does not tell.
@Suite struct VerifyFoldDamageTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// Two weights of Q4_1, 4 rows of 64 columns, and a norm; an adapter changes one of them.
  private func folded() throws -> (base: Model, use: AdapterUse, bytes: [UInt8], blocks: Int) {
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
    let use = try folder.use([ToyFactors("a", 4, 2, seed: 903)], pooling: .sum)
    let result = try folder.fold([use], into: base, to: "out.gguf")
    #expect(try Verification(of: result.model, against: base, adapters: [use]).holds)
    let bytes = try folder.scratch.bytes(of: "out.gguf")
    let stored = try result.model.parts("a.weight")[.blocks] ?? []
    let first = try #require(
      stride(from: 0, to: bytes.count, by: 32).first {
        Array(bytes[$0..<min(bytes.count, $0 + stored.count)]) == stored
      })
    return (base, use, bytes, first)
  }

  /// What is found in a file with other bytes, and in the pleat file that it is converted to.
  private func verifications(
    _ bytes: [UInt8], _ base: Model, _ use: AdapterUse, tolerance: Double? = nil
  ) throws -> [Verification] {
    let changed = try Model.open(try folder.scratch.write(bytes, as: "changed.gguf"))
    let packed = try folder.convert(changed, to: "changed.pleat")
    defer { try? folder.scratch.remove("changed.pleat") }
    var found: [Verification] = []
    for model in [changed, packed] {
      found.append(
        try Verification(of: model, against: base, adapters: [use], tolerance: tolerance))
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

  @Test("one bias that is two steps off is found, in every group") func biases() throws {
    let (base, use, bytes, first) = try folded()
    for block in 0..<8 {
      let place = first + block * 20 + 2
      var changed = bytes
      // Away from the end of a byte, so that two steps do not carry into the next.
      changed[place] = changed[place] < 128 ? changed[place] + 2 : changed[place] - 2
      expectRejected(try verifications(changed, base, use), "a.weight")
    }
  }

  @Test("one scale with its last bit turned is found") func scales() throws {
    let (base, use, bytes, first) = try folded()
    var changed = bytes
    changed[first + 3 * 20] ^= 1
    expectRejected(try verifications(changed, base, use), "a.weight")
  }

  @Test("one code is found and counted", arguments: [0x01, 0x10, 0x80])
  func codes(mask: UInt8) throws {
    let (base, use, bytes, first) = try folded()
    var changed = bytes
    changed[first + 5 * 20 + 4 + 7] ^= mask
    expectRejected(try verifications(changed, base, use), "a.weight", codes: 1)
  }

  @Test(
    "one number of a tensor that no adapter changes is found, and named before worse errors",
    arguments: ["b.weight", "norm.weight"])
  func untouched(name: String) throws {
    let (base, use, bytes, _) = try folded()
    let stored = try base.parts(name).values.first ?? []
    let place = try #require(
      stride(from: 0, to: bytes.count, by: 32).first {
        Array(bytes[$0..<min(bytes.count, $0 + stored.count)]) == stored
      })
    var changed = bytes
    // The last bit of a bias, or of a number.
    changed[place + (name == "b.weight" ? 2 : 0)] ^= 1
    let found = try verifications(changed, base, use)
    expectRejected(found, name)
    let errors = try #require(found[0].comparisons).map(\.relativeError)
    #expect(errors[0] > 0 && errors[0] < errors[1...].max() ?? 0)
  }

  @Test("a tolerance takes the place of the proof") func tolerance() throws {
    let (base, use, bytes, first) = try folded()
    var changed = bytes
    changed[first + 4] ^= 1
    let strict = try verifications(changed, base, use)
    expectRejected(strict, "a.weight", codes: 1)
    let worst = try #require(strict[0].comparisons).map(\.relativeError).max() ?? 0
    for verification in try verifications(changed, base, use, tolerance: worst) {
      #expect(verification.holds)
      #expect(verification.comparisons?.first { $0.name == "a.weight" }?.fold?.isProven == false)
    }
    for verification in try verifications(changed, base, use, tolerance: worst * 0.99) {
      #expect(!verification.holds)
    }
    // Where nothing is permitted, the rounding of biases is too much as well.
    for verification in try verifications(bytes, base, use, tolerance: 0) {
      #expect(!verification.holds)
    }
  }

  // In F32 the arithmetic itself may be some steps off.
  @Test(
    "a plain weight that is some steps off is found, wherever it is (seed 904)",
    arguments: [(ScalarType.f16, UInt8(2)), (.bf16, 2), (.f32, 16)])
  func plain(type: ScalarType, steps: UInt8) throws {
    let base = try Models.make(
      [Toy("a.weight", type, [4, 64], seed: 904), Toy("b.weight", type, [4, 64], seed: 905)],
      in: folder.scratch, as: "base.safetensors")
    let use = try folder.use([ToyFactors("a", 4, 64, seed: 906)])
    let result = try folder.fold([use], into: base, to: "out.safetensors")
    #expect(try Verification(of: result.model, against: base, adapters: [use]).holds)
    let size = type.bitWidth / 8
    let values = try result.model.parts("a.weight")[.values] ?? []
    for element in stride(from: 0, to: 256, by: 37) {
      var changed = values
      let low = changed[element * size]
      changed[element * size] = low < 128 ? low + steps : low - steps
      let other = try Models.make(
        [
          Toy("a.weight", type, [4, 64], bytes: changed),
          Toy("b.weight", type, [4, 64], seed: 905),
        ], in: folder.scratch, as: "changed.safetensors")
      let found = try Verification(of: other, against: base, adapters: [use])
      #expect(!found.holds)
      #expect(found.comparisons?.first?.name == "a.weight")
      #expect(found.comparisons?.first?.fold?.isProven == false, "\(element)")
    }
  }

  @Test("weights that are not finite are never proven", arguments: [Float.nan, .infinity])
  func nonFinite(value: Float) throws {
    let base = try Models.make(
      [Toy("a.weight", .f32, [4, 64], seed: 907)], in: folder.scratch, as: "base.safetensors")
    let use = try folder.use([ToyFactors("a", 4, 64, seed: 908)])
    let result = try folder.fold([use], into: base, to: "out.safetensors")
    var values = Numbers.floats(f32: try result.model.parts("a.weight")[.values] ?? [])
    values[77] = value
    let changed = try Models.make(
      [Toy("a.weight", .f32, [4, 64], values)], in: folder.scratch, as: "changed.safetensors")
    for tolerance in [nil, Double.infinity] {
      let found = try Verification(
        of: changed, against: base, adapters: [use], tolerance: tolerance)
      #expect(!found.holds)
    }
  }

  @Test("missing tensors and other shapes are mismatches, and the rest is still proven")
  func mismatches() throws {
    let base = try Models.make(
      [
        Toy("a.weight", .f32, [4, 64], seed: 909), Toy("b.weight", .f32, [4, 64], seed: 910),
      ], in: folder.scratch, as: "base.safetensors")
    let use = try folder.use([ToyFactors("a", 4, 64, seed: 911)])
    let result = try folder.fold([use], into: base, to: "out.safetensors")
    let values = try result.model.parts("a.weight")[.values] ?? []
    let lacking = try Models.make(
      [
        Toy("a.weight", .f32, [4, 64], bytes: values), Toy("b.weight", .f32, [64, 4], seed: 910),
        Toy("c.weight", .f32, [1], seed: 912),
      ], in: folder.scratch, as: "lacking.safetensors")
    let found = try Verification(of: lacking, against: base, adapters: [use])
    #expect(!found.holds && found.isFaithful)
    #expect(found.mismatches.compactMap(\.tensor) == ["b.weight", "c.weight"])
    #expect(found.comparisons?.map { $0.fold?.isProven } == [true])
  }
}
