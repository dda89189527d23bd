import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// How changes of adapters fit the shapes of their tensors.
@Suite struct PairingShapeTests {
  private func pair(
    _ adapter: ToyAdapter, _ shape: [Int], pooling: Pooling? = nil, strength: Double = 1
  ) throws(ModelError) -> [PairedChange] {
    try Pairing(base([("a.weight", shape), ("a.bias", [12])])).pair(
      try adapter.read(), Pairing.Use(index: 0, strength: strength, pooling: pooling))
  }

  private func error(
    _ adapter: ToyAdapter, _ shape: [Int], pooling: Pooling? = nil
  ) -> ModelError? {
    Laws.error { () throws(ModelError) in try pair(adapter, shape, pooling: pooling) }
  }

  /// PEFT's factors for `outputs` × `inputs`, or groups of inputs, with scale 3.
  private func peft(
    _ outputs: Int, _ inputs: Int, _ config: JSONValue = [:], pooling: Pooling? = nil
  ) -> ToyAdapter {
    .peft(
      [("a.lora_A.weight", [2, inputs]), ("a.lora_B.weight", [outputs, 2])], config,
      pooling: pooling)
  }

  // MARK: - Orientation

  @Test("a weight of outputs × inputs gets the product unchanged") func straight() throws {
    let found = try pair(peft(12, 16), [12, 16])
    #expect(found[0].lowRank?.left.tensor == 1)
    #expect(found[0].groupSize == nil)
    #expect(try pair(peft(12, 16), [1, 12, 16])[0].lowRank?.left.tensor == 1)
  }

  @Test("fan_in_fan_out transposes the product, unless only the original fits") func transposed()
    throws
  {
    let config: JSONValue = ["fan_in_fan_out": true]
    #expect(try pair(peft(12, 16, config), [16, 12])[0].lowRank?.left.tensor == 0)
    #expect(try pair(peft(16, 16, config), [16, 16])[0].lowRank?.left.tensor == 0)
    #expect(try pair(peft(12, 16, config), [12, 16])[0].lowRank?.left.tensor == 1)
    #expect(error(peft(12, 16), [16, 12])?.kind == .mismatch)
  }

  @Test(
    "a mismatch shows all shapes",
    arguments: [
      [12, 17], [13, 16], [12], [], [2, 12, 16], [1, 1, 12, 16], [16, 12], [12, 32], [0, 16],
    ])
  func misfits(shape: [Int]) {
    let error = error(peft(12, 16), shape)
    #expect(error?.kind == .mismatch)
    #expect(error?.file == "toy" && error?.tensor == "a.weight")
    #expect(error?.expected == "\(Shape.of(shape))")
    #expect(error?.found == "a.lora_A.weight 2×16, a.lora_B.weight 12×2")
  }

  @Test("DoRA needs one magnitude for each row, and rows that are outputs") func dora() throws {
    func adapter(_ length: [Int], _ config: JSONValue = [:]) -> ToyAdapter {
      .peft(
        [
          ("a.lora_A.weight", [2, 16]), ("a.lora_B.weight", [12, 2]),
          ("a.lora_magnitude_vector", length),
        ], config.changed(by: ["use_dora": true]))
    }
    for length in [[12], [1, 12], [12, 1]] {
      #expect(try pair(adapter(length), [12, 16])[0].lowRank?.magnitude == 2)
    }
    for length in [[16], [11], [], [12, 2]] {
      #expect(error(adapter(length), [12, 16])?.kind == .mismatch)
    }
    let turned = error(adapter([12], ["fan_in_fan_out": true]), [16, 12])
    #expect(turned?.kind == .unsupported)
  }

  @Test("vectors and replacements must have the shape of the tensor") func vectors() throws {
    func adapter(_ name: String, _ shape: [Int]) -> ToyAdapter {
      .peft([
        ("a.lora_A.weight", [2, 16]), ("a.lora_B.weight", [12, 2]), (name, shape),
      ])
    }
    for (name, shape) in [("a.lora_B.bias", [12]), ("a.bias", [12])] {
      #expect(try Set(pair(adapter(name, shape), [12, 16]).map(\.tensor)) == [0, 1])
      for wrong in [[], [11], [12, 1], [1, 12]] {
        let error = error(adapter(name, wrong), [12, 16])
        #expect(error?.kind == .mismatch)
        #expect(error?.tensor == "a.bias")
      }
    }
  }

  @Test("a vector is added to vectors only") func matrixBias() throws {
    let adapter = ToyAdapter.peft([
      ("a.lora_A.weight", [2, 16]), ("a.lora_B.weight", [12, 2]), ("a.lora_B.bias", [3, 4]),
    ])
    let pairing = Pairing(base([("a.weight", [12, 16]), ("a.bias", [3, 4])]))
    let read = try adapter.read()
    let error = Laws.error { () throws(ModelError) in
      try pairing.pair(read, Pairing.Use(index: 0))
    }
    #expect(error?.kind == .mismatch)
  }

  @Test("the strength multiplies every scale", arguments: [1, -1, 0.5, 0])
  func strength(strength: Double) throws {
    let adapter = ToyAdapter.peft([
      ("a.lora_A.weight", [2, 16]), ("a.lora_B.weight", [12, 2]), ("a.lora_B.bias", [12]),
    ])
    let found = try pair(adapter, [12, 16], strength: strength)
    #expect(found[0].lowRank?.scale == 3 * strength)
    #expect(found[1].operation == .vector(tensor: 2, scale: 3 * strength))
  }

  // MARK: - Pooled inputs

  @Test(
    "each kind of pooling has its factor", arguments: [(4096, 32), (256, 16), (96, 8)])
  func factors(columns: Int, group: Int) throws {
    let expected: [Pooling: Double] = [
      .sum: 1, .mean: 1 / Double(group), .peft: Double(columns) / Double(group * group),
    ]
    for pooling in Pooling.allCases {
      let factor = try #require(expected[pooling])
      #expect(areClose(pooling.factor(groupSize: group, columnCount: columns), factor))
      for adapter in [peft(12, columns / group), peft(12, columns / group, pooling: pooling)] {
        let found = try pair(adapter, [12, columns], pooling: pooling, strength: -2)
        #expect(found[0].groupSize == group)
        #expect(areClose(found[0].lowRank?.scale ?? 0, -6 * factor))
      }
    }
  }

  @Test("use_qalora sets the pooling, and a module that does not pool is plain") func config()
    throws
  {
    let config: JSONValue = ["use_qalora": true, "qalora_group_size": 32]
    let pooled = try pair(peft(12, 4, config), [12, 128])
    #expect(pooled[0].groupSize == 32 && pooled[0].lowRank?.scale == 3.0 * 4 / 32)
    let plain = try pair(peft(12, 128, config), [12, 128])
    #expect(plain[0].groupSize == nil && plain[0].lowRank?.scale == 3)
  }

  @Test("a group size that contradicts the config is refused, and both are shown")
  func contradiction() {
    let config: JSONValue = ["use_qalora": true, "qalora_group_size": 16]
    for groups in [4, 3, 127, 256] {
      let error = error(peft(12, groups, config), [12, 128])
      #expect(error?.kind == .mismatch)
      #expect(error?.expected?.contains("128 columns, or 8 groups of 16") == true)
      #expect(error?.found == "\(groups) in a.lora_A.weight")
    }
  }

  @Test("a group size that the config states may be small", arguments: [2, 4, 8, 64])
  func declaredGroups(size: Int) throws {
    let config: JSONValue = ["use_qalora": true, "qalora_group_size": .init(size)]
    #expect(try pair(peft(12, 128 / size, config), [12, 128])[0].groupSize == size)
  }

  @Test("small groups that no config states are a mismatch", arguments: [2, 4])
  func smallGroups(size: Int) {
    let error = error(peft(12, 128 / size), [12, 128], pooling: .sum)
    #expect(error?.kind == .mismatch)
  }

  @Test("an unknown pooling is a usage error that lists the choices") func unknownPooling() {
    let error = error(peft(12, 4), [12, 128])
    #expect(error?.kind == .usage)
    for pooling in Pooling.allCases {
      #expect(error?.expected?.contains("\(pooling.rawValue) (\(pooling.summary))") == true)
    }
  }

  @Test("a --pooling that contradicts the adapter is a mismatch") func otherPooling() throws {
    let config: JSONValue = ["use_qalora": true, "qalora_group_size": 32]
    for pooling in [Pooling.sum, .mean] {
      let error = error(peft(12, 4, config), [12, 128], pooling: pooling)
      #expect(error?.kind == .mismatch)
      #expect(error?.expected == "--pooling peft")
      #expect(error?.found == "--pooling \(pooling.rawValue)")
    }
    #expect(try pair(peft(12, 4, config), [12, 128], pooling: .peft)[0].groupSize == 32)
  }

  @Test("pooled inputs do not fit a weight of inputs × outputs") func transposedGroups() {
    let config: JSONValue = ["fan_in_fan_out": true]
    #expect(error(peft(128, 4, config), [128, 128], pooling: .sum)?.kind == .mismatch)
    #expect(error(peft(12, 4, config), [128, 12], pooling: .sum)?.kind == .mismatch)
  }

  @Test("DoRA with pooled inputs is a mismatch") func doraOfGroups() {
    let adapter = ToyAdapter.peft(
      [
        ("a.lora_A.weight", [2, 4]), ("a.lora_B.weight", [12, 2]),
        ("a.lora_magnitude_vector", [12]),
      ], ["use_dora": true])
    #expect(error(adapter, [12, 128], pooling: .sum)?.kind == .mismatch)
  }
}

/// Whether two numbers are equal up to a few roundings.
func areClose(_ left: Double, _ right: Double) -> Bool {
  left == right || (left - right).magnitude <= 1e-14 * max(left.magnitude, right.magnitude)
}
