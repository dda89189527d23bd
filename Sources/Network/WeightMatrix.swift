internal import Kernels
internal import TensorModel
internal import Weights

/// A matrix of weights of a model in any encoding that Pleat decodes: rows of a tensor.
struct WeightMatrix: Sendable {
  /// The name of the tensor, for messages.
  let name: String
  private let reader: WeightReader
  private let tensor: WeightReader.Tensor
  private let rows: Range<Int>

  /// The number of rows, the outputs of a product.
  var rowCount: Int { rows.count }
  /// The number of columns, its inputs.
  var columnCount: Int { tensor.shape.columnCount }

  /// All rows of a tensor, or some.
  ///
  /// Throws `unsupported` for a tensor that Pleat does not decode, or whose rows cannot be read from
  /// the first of these on.
  init(
    _ name: String, _ index: Int, of reader: WeightReader, rows: Range<Int>? = nil
  ) throws(ModelError) {
    guard let tensor = reader.tensor(index) else {
      throw ModelError(
        .unsupported, "Pleat does not decode the tensor", tensor: name,
        hint: "pleat inspect shows how it is stored")
    }
    let rows = rows ?? 0..<tensor.shape.rowCount
    guard rows.lowerBound.isMultiple(of: tensor.rowStep) else {
      throw ModelError(
        .unsupported, "the rows of the tensor are packed together, and a part of them is needed",
        tensor: name, expected: "parts of a multiple of \(tensor.rowStep) rows",
        found: "a part from row \(rows.lowerBound) on",
        hint: "pleat convert --dtype BF16 writes a checkpoint without groups")
    }
    self.name = name
    self.reader = reader
    self.tensor = tensor
    self.rows = rows
  }

  /// Some of its rows.
  ///
  /// Throws what `init` throws.
  func part(_ part: Range<Int>, index: Int) throws(ModelError) -> WeightMatrix {
    try WeightMatrix(
      name, index, of: reader,
      rows: rows.lowerBound + part.lowerBound..<rows.lowerBound + part.upperBound)
  }

  /// Runs of rows that fit into memory, each a multiple of so many rows but the last.
  func runs(multiple: Int) -> [Range<Int>] {
    WeightReader.runs(of: [tensor], in: rows, multiple: multiple).map {
      $0.lowerBound - rows.lowerBound..<$0.upperBound - rows.lowerBound
    }
  }

  /// What tells it from other matrices of the model.
  struct Place: Hashable {
    let tensor: Int
    let rows: Range<Int>
  }

  var place: Place { Place(tensor: tensor.index, rows: rows) }

  /// How it is packed for products with one token; nil if it is not.
  var packedForm: PackedMatrix.Form? { rows.isEmpty ? nil : reader.packedForm(of: tensor) }

  /// Reads and packs all rows.
  ///
  /// Throws what reading throws.
  func packed(
    _ form: PackedMatrix.Form, by workers: Workers
  ) throws(ModelError) -> PackedMatrix {
    let matrix = PackedMatrix(form, rowCount: rowCount, columnCount: columnCount)
    let runs = runs(multiple: PackedMatrix.rowsPerBlock)
    let first = rows.lowerBound
    try workers.run(runs.count, with: WeightReader.Buffers()) {
      (part, buffers) throws(ModelError) in
      let run = runs[part]
      try reader.pack(
        tensor, rows: first + run.lowerBound..<first + run.upperBound, into: matrix,
        at: run.lowerBound, reusing: &buffers)
    }
    return matrix
  }

  /// The numbers of some rows; reads them from the file.
  ///
  /// Throws what reading throws.
  func values(_ part: Range<Int>) throws(ModelError) -> [Float] {
    var buffers = WeightReader.Buffers()
    let start = try read(part, into: &buffers)
    return Array(buffers.values[start..<start + part.count * columnCount])
  }

  /// Reads some rows, and others that are packed together with them.
  ///
  /// - Parameters:
  ///   - part: The rows.
  ///   - buffers: Receives the numbers.
  /// - Returns: The index of the first number of the rows.
  /// - Throws: What reading throws.
  func read(
    _ part: Range<Int>, into buffers: inout WeightReader.Buffers
  ) throws(ModelError) -> Int {
    let step = tensor.rowStep
    let range = rows.lowerBound + part.lowerBound..<rows.lowerBound + part.upperBound
    let first = range.lowerBound / step * step
    let last = min((range.upperBound + step - 1) / step * step, tensor.shape.rowCount)
    try reader.read(tensor, rows: first..<last, into: &buffers)
    return (range.lowerBound - first) * columnCount
  }
}

/// A matrix and a bias: y = W x + b.
struct Linear: Sendable {
  /// llama.cpp's name of the matrix, with `.weight`; of a stack for an expert.
  var name: String
  var matrix: WeightMatrix
  var bias: [Float]?

  /// The number of outputs.
  var rowCount: Int { matrix.rowCount }
}
