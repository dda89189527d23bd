import Bytes
import Formats
import Kernels
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Tensors that are read from others.
@Suite struct TensorViewTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// The numbers of all tensors, read in runs.
  private func values(_ model: Model) throws -> [[Float]] {
    let reader = WeightReader(model: model)
    return try model.catalog.tensors.indices.map { index in
      let tensor = try #require(reader.tensor(index))
      return try (0..<tensor.runCount).flatMap { try reader.values(of: tensor, run: $0) }
    }
  }

  /// The numbers of a view, one by one, from those of its source.
  private func expected(_ view: TensorView, _ source: [Float], columns: Int) -> [Float] {
    let rows = RowSelection.runs(view.rows, 0..<view.rows.reduce(0) { $0 + $1.count }).flatMap {
      run in (0..<run.count).map { run.row + $0 * run.distance }
    }
    let numbers: [Float]
    if view.dividesRows {
      numbers = rows.map { source[$0] }
    } else if let transposition = view.transposition {
      numbers = rows.flatMap { row in
        transposition.usedRows.map {
          source[(row / columns * transposition.matrixRowCount + $0) * columns + row % columns]
        }
      }
    } else {
      numbers = rows.flatMap { source[$0 * columns..<($0 + 1) * columns] }
    }
    let ordered =
      view.columns.map { order in
        stride(from: 0, to: numbers.count, by: columns).flatMap {
          order.applied(to: numbers[$0..<$0 + columns])
        }
      } ?? numbers
    if !view.factors.isEmpty {
      let factors = view.factors.flatMap { Array(repeating: $0.factors, count: $0.rowCount) }
      return zip(0..., ordered).map { index, number in
        factors[index / columns].reduce(number) { $0 * $1 }
      }
    }
    guard view.function == .negatedExponential else { return ordered }
    return ordered.map { -Platform.exponential($0) }
  }

  /// Views of a stack of 3 matrices of 8 × 64.
  private static let views: [TensorView] = {
    func view(_ name: String, _ extents: [Int], _ rows: [RowSelection]) -> TensorView {
      guard let shape = Shape(validating: extents) else { preconditionFailure("an invalid shape") }
      var view = TensorView(name: name, shape: shape, source: 0)
      view.rows = rows
      return view
    }
    var views = [
      view("even", [3, 4, 64], [RowSelection(count: 12, distance: 2)]),
      view("odd", [3, 4, 64], [RowSelection(from: 1, count: 12, distance: 2)]),
      view("last", [3, 2, 64], [RowSelection(from: 6, [(3, 8), (2, 1)])]),
      view(
        "halves", [24, 64],
        [RowSelection(from: 4, [(3, 8), (4, 1)]), RowSelection([(3, 8), (4, 1)])]),
      view("ordered", [3, 8, 64], [RowSelection(count: 24)]),
      view("transposed", [3, 64, 8], [RowSelection(count: 192)]),
      view("part", [3, 64, 5], [RowSelection(count: 192)]),
      view("columns", [3, 32, 8], [RowSelection(from: 1, count: 96, distance: 2)]),
      view("decay", [3, 8, 64], [RowSelection(count: 24)]),
      view("multiplied", [3, 8, 64], [RowSelection(count: 24)]),
    ]
    views[4].columns = .init(runLength: 16, runs: RowSelection([(2, 1), (2, 2)]))
    views[5].transposition = .init(matrixRowCount: 8)
    views[6].transposition = .init(matrixRowCount: 8, usedRows: 2..<7)
    views[7].transposition = .init(matrixRowCount: 8)
    views[8].function = .negatedExponential
    views[9].factors = [
      .init(rowCount: 5, factors: [0.3, 1.7]), .init(rowCount: 19, factors: [0.7]),
    ]
    return views
  }()

  /// The stack as plain numbers, and quantized in all ways.
  private static let forms: [(format: Format, type: ScalarType?, bits: Int?)] = [
    (.safetensors, .f32, nil), (.safetensors, .bf16, nil), (.safetensors, .f16, nil),
    (.pleat, nil, 4), (.pleat, nil, 3), (.pleat, nil, 8),
  ]

  @Test("views have the numbers of their sources (seed 614)", arguments: forms.indices)
  func numbers(form: Int) throws {
    var random = Seeded(614)
    let (format, type, bits) = Self.forms[form]
    let name = "model.layers.0.mlp.experts.weight"
    let toy = Toy(name, type ?? .f32, [3, 8, 64], random.weights(3 * 8 * 64, scale: 1))
    var model = try Models.make([toy], in: scratch)
    if let bits {
      let destination = Destination(
        path: scratch.path("quantized.pleat"), format: format)
      let recipe = try Recipe.with(bits: bits, group: .columns(32), rules: ["*=\(bits)"])
      try Run(Plan.quantizing(model, recipe, to: destination))()
      model = try Model.open(destination.path)
      #expect(model.catalog.tensors[0].isGrouped)
    }
    let source = try values(model)[0]
    let viewed = try model.viewed(Self.views)
    let found = try values(viewed)
    for (index, view) in Self.views.enumerated() {
      let encoding = viewed.catalog.tensors[index].encoding
      let expected = expected(view, source, columns: 64)
      #expect(found[index].bits == expected.bits, "\(view.name)")
      // Rows are moved as they are; what is computed is stored as plain numbers.
      if view.movesRows, view.columns == nil {
        #expect(encoding == model.catalog.tensors[0].encoding, "\(view.name)")
      }
      if !view.keepsNumbers { #expect(encoding == .plain(.f32)) }
    }
  }

  @Test("matrices with many columns are transposed in strips (seed 616)", arguments: [2880, 1031])
  func strips(columns: Int) throws {
    var random = Seeded(616)
    let toy = Toy(
      "model.layers.0.w", .bf16, [2, 3, columns], random.weights(6 * columns, scale: 1))
    let model = try Models.make([toy], in: scratch)
    var view = TensorView(
      name: "transposed", shape: try #require(Shape(validating: [2, columns, 3])), source: 0)
    view.rows = [RowSelection(count: 2 * columns)]
    view.transposition = .init(matrixRowCount: 3)
    var half = view
    half.rows = [RowSelection(from: 1, [(2, columns), (columns / 2, 2)])]
    half.shape = try #require(Shape(validating: [2, columns / 2, 3]))
    let source = try values(model)[0]
    let found = try values(try model.viewed([view, half]))
    #expect(found[0].bits == expected(view, source, columns: columns).bits)
    #expect(found[1].bits == expected(half, source, columns: columns).bits)
  }

  @Test("a vector is divided number by number") func vectors() throws {
    var random = Seeded(615)
    let toy = Toy("model.layers.0.bias", .bf16, [4, 6], random.weights(24, scale: 1))
    let model = try Models.make([toy], in: scratch)
    let shape = try #require(Shape(validating: [4, 3]))
    var view = TensorView(name: "odd", shape: shape, source: 0)
    view.rows = [RowSelection(from: 1, count: 12, distance: 2)]
    view.dividesRows = true
    var decay = view
    decay.function = .negatedExponential
    let found = try values(try model.viewed([view, decay]))
    let source = try values(model)[0]
    #expect(found[0].bits == expected(view, source, columns: 6).bits)
    #expect(found[1].bits == expected(decay, source, columns: 6).bits)
  }

  @Test("joined rows keep the codes of tensors in one encoding (seed 619)", arguments: [4, 8])
  func joinedCodes(bits: Int) throws {
    var random = Seeded(619)
    let names = ["model.layers.0.a.weight", "model.layers.0.b.weight", "model.layers.0.c.weight"]
    let toys = names.map { Toy($0, .bf16, [6, 64], random.weights(6 * 64, scale: 1)) }
    let destination = Destination(path: scratch.path("quantized.pleat"), format: .pleat)
    let recipe = try Recipe.with(bits: bits, group: .columns(32), rules: ["*.c.*=keep"])
    try Run(
      Plan.quantizing(try Models.make(toys, in: scratch), recipe, to: destination))()
    let model = try Model.open(destination.path)
    let source = try values(model)
    let shape = try #require(Shape(validating: [6, 64]))
    func joined(_ indices: [Int]) throws -> TensorView {
      var view = TensorView(
        name: "rows", shape: try #require(Shape(validating: [12, 64])), source: indices[0])
      view.rows = [
        RowSelection(from: 2, count: 4), RowSelection(from: 6, count: 3, distance: 2),
        RowSelection(count: 2), RowSelection(from: 7, count: 3, distance: 2),
      ]
      view.joining = .rows(
        indices.map { TensorView(name: names[$0], shape: shape, source: $0) })
      return view
    }
    let viewed = try model.viewed([try joined([0, 1]), try joined([0, 2])])
    #expect(viewed.catalog.tensors[0].encoding == model.catalog.tensors[0].encoding)
    #expect(viewed.catalog.tensors[0].isGrouped)
    #expect(!viewed.isDecodedView(0) && viewed.isDecodedView(1))
    let order = [2, 3, 4, 5, 6, 8, 10, 0, 1, 7, 9, 11]
    for (found, other) in zip(try values(viewed), [1, 2]) {
      let all = source[0] + source[other]
      #expect(found.bits == order.flatMap { all[$0 * 64..<($0 + 1) * 64] }.bits)
    }
  }

  @Test("rows and columns of several tensors become one tensor (seed 618)")
  func joined() throws {
    var random = Seeded(618)
    let names = ["model.layers.0.a", "model.layers.0.b"]
    let toys = names.map { Toy($0, .bf16, [6, 64], random.weights(6 * 64, scale: 1)) }
    let model = try Models.make(toys, in: scratch)
    let source = try values(model)
    let shape = try #require(Shape(validating: [6, 64]))
    let parts = names.indices.map { TensorView(name: names[$0], shape: shape, source: $0) }
    var rows = TensorView(
      name: "rows", shape: try #require(Shape(validating: [12, 64])), source: 0)
    rows.rows = [
      RowSelection(from: 2, count: 4), RowSelection(from: 6, count: 3, distance: 2),
      RowSelection(count: 2), RowSelection(from: 7, count: 3, distance: 2),
    ]
    rows.joining = .rows(parts)
    var columns = TensorView(
      name: "columns", shape: try #require(Shape(validating: [64, 12])), source: 0)
    columns.rows = [RowSelection(count: 64)]
    columns.joining = .columns(
      parts.map { part in
        var view = part
        view.rows = [RowSelection(count: 64)]
        view.shape = Shape(validating: [64, 6]) ?? shape
        view.transposition = .init(matrixRowCount: 6)
        return view
      }, runLength: 1)
    var halves = columns
    halves.name = "halves"
    halves.joining = columns.joining.map { .columns($0.views, runLength: 6) }
    let viewed = try model.viewed([rows, columns, halves])
    #expect(viewed.catalog.tensors.allSatisfy { $0.encoding == .plain(.bf16) })
    let found = try values(viewed)
    let all = source[0] + source[1]
    let order = [2, 3, 4, 5, 6, 8, 10, 0, 1, 7, 9, 11]
    #expect(found[0].bits == order.flatMap { all[$0 * 64..<($0 + 1) * 64] }.bits)
    let expected = (0..<64).flatMap { column in
      (0..<6).flatMap { row in source.map { $0[row * 64 + column] } }
    }
    #expect(found[1].bits == expected.bits)
    let sideBySide = (0..<64).flatMap { column in
      source.flatMap { numbers in (0..<6).map { numbers[$0 * 64 + column] } }
    }
    #expect(found[2].bits == sideBySide.bits)
  }

  @Test(
    "the logarithm of −eˣ is x for numbers of 16 bits, and has the same −eˣ for others (seed 619)")
  func logarithms() throws {
    var random = Seeded(619)
    let short = (0..<2048).map { Float(bitPattern: (0xC180_0000 - UInt32($0) << 18) & ~0xFFFF) }
    let usual = short.filter { $0 < -0x1p-12 } + [0, 0.5, 1, 2.75]
    let others = random.weights(2048, scale: 2).map { min($0, 1) }
    for numbers in [usual, others] {
      let toy = Toy(
        "model.layers.0.a", .f32, [numbers.count], numbers.map { -Platform.exponential($0) })
      let model = try Models.make([toy], in: scratch)
      var view = TensorView(
        name: "log", shape: try #require(Shape(validating: [numbers.count])), source: 0)
      view.rows = [RowSelection(count: numbers.count)]
      view.dividesRows = true
      view.function = .logarithmOfNegative
      let found = try values(try model.viewed([view]))[0]
      if numbers == usual { #expect(found.bits == numbers.bits) }
      #expect(
        found.map { -Platform.exponential($0) }.bits
          == numbers.map { -Platform.exponential($0) }.bits)
    }
  }
}
