import Pleat
import TestSupport
import Testing

/// Errors name weights that cannot be encoded by row and column.
@Suite struct FaultTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// A model of ordinary weights with `value` at one position.
  private func model(
    _ value: Float, row: Int, column: Int, shape: [Int] = [700, 64], _ type: ScalarType = .f32
  ) throws -> Model {
    let columns = shape[shape.count - 1]
    var values = (0..<shape.reduce(1, *)).map { Float($0 % 61) / 61 }
    values[row * columns + column] = value
    return try Models.make([Toy("a.weight", type, shape, values)], in: scratch)
  }

  private func error(
    _ model: Model, _ recipe: Recipe = Recipe()
  ) throws -> ModelError? {
    let plan = try Plan.quantizing(
      model, recipe, to: Destination(path: scratch.path("out.pleat"), format: .pleat))
    return Laws.error { () throws(ModelError) in try Run(plan)() }
  }

  @Test(
    "a weight that is not finite is refused with its row and column",
    arguments: [
      (0, 0), (0, 63), (1, 0), (511, 63), (512, 0), (513, 31), (699, 63),
    ])
  func positions(row: Int, column: Int) throws {
    for (value, text) in [(Float.nan, "nan"), (.infinity, "inf"), (-.infinity, "-inf")] {
      let error = try error(try model(value, row: row, column: column))
      #expect(error?.kind == .malformed)
      #expect(error?.tensor == "a.weight")
      #expect(error?.found == "\(text) in row \(row), column \(column)")
    }
  }

  @Test("rows of a stack are counted across its matrices") func stacks() throws {
    let error = try error(try model(.nan, row: 7, column: 3, shape: [2, 5, 64]))
    #expect(error?.found == "nan in row 7, column 3")
  }

  @Test("the first of several weights is named, with any number of workers") func several() throws {
    var values = [Float](repeating: 0.5, count: 40_000 * 64)
    for row in [200, 20_000, 39_999] { values[row * 64] = .nan }
    let model = try Models.make([Toy("a.weight", .f32, [40_000, 64], values)], in: scratch)
    let found = try (1...4).map { count in
      let plan = try Plan.quantizing(
        model, Recipe(), to: Destination(path: scratch.path("out.pleat"), format: .pleat))
      return Laws.error { () throws(ModelError) in try Run(plan, workerCount: count)() }?.found
    }
    #expect(found == [String?](repeating: "nan in row 200, column 0", count: 4))
  }

  @Test(
    "groups that do not fit F16 are refused, but accepted with BF16 and F32",
    arguments: [
      ("minmax", Float(1e10)), ("minmax", -1e10), ("symmetric", 1e10), ("symmetric", -1e10),
    ])
  func overflow(scheme: String, value: Float) throws {
    let model = try model(value, row: 600, column: 40)
    let error = try error(model, try .with(scheme: scheme))
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor == "a.weight")
    #expect(error?.found?.contains("row 600, column 32") == true)
    #expect(error?.hint?.contains("--parameters") == true)
    #expect(try scratch.names() == ["model.safetensors"])
    for parameters in [ScalarType.bf16, .f32] {
      #expect(try self.error(model, try .with(scheme: scheme, parameters: parameters)) == nil)
      try scratch.remove("out.pleat")
    }
  }

  @Test("a tensor that a rule keeps may hold NaN") func keeping() throws {
    let model = try model(.nan, row: 3, column: 3)
    #expect(try error(model, try .with(rules: ["*=keep"])) == nil)
  }

  @Test("decoding to BF16 refuses weights that would become infinite")
  func bf16Overflow() throws {
    for (value, isRefused) in [(Float(3.38e38), false), (3.4e38, true), (-3.4e38, true)] {
      let scratch = try Scratch()
      let model = try Models.make([Toy("a.weight", .f32, [2], [1, value])], in: scratch)
      let plan = try Plan.converting(
        model, decodingTo: .bf16,
        to: Destination(path: scratch.path("out.safetensors"), format: .safetensors))
      let error = Laws.error { () throws(ModelError) in try Run(plan)() }
      #expect(error?.kind == (isRefused ? .unsupported : nil))
      #expect(error?.tensor == (isRefused ? "a.weight" : nil))
    }
  }

  @Test(
    "decoding to F16 refuses weights that would become infinite",
    arguments: [
      (Float(65519.99), false), (65520, true), (-65520, true), (1e30, true), (-65504, false),
    ])
  func f16Overflow(value: Float, isRefused: Bool) throws {
    let model = try model(value, row: 600, column: 40)
    let plan = try Plan.converting(
      model, decodingTo: .f16,
      to: Destination(path: scratch.path("out.safetensors"), format: .safetensors))
    let error = Laws.error { () throws(ModelError) in try Run(plan)() }
    #expect(error?.kind == (isRefused ? .unsupported : nil))
    #expect(error?.tensor == (isRefused ? "a.weight" : nil))
    #expect(error?.found == (isRefused ? "\(value) in row 600, column 40" : nil))
  }
}
