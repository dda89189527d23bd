package import Bytes
package import TensorModel

/// How a tensor of a checkpoint is made of those that llama.cpp has: the reverse of a
/// `TensorArrangement`.
package struct TensorReturn: Sendable {
  /// The end of its name in a checkpoint, after the number of the layer.
  let name: String
  /// The tensors of llama.cpp, by the ends of their names after the number of the layer.
  let parts: [String]
  /// The tensor, from views of these as they are, in the same order; nil if their shapes do not fit.
  let view:
    @Sendable (_ parts: [TensorView], _ values: ConfigValues) throws(ModelError)
      -> TensorView?

  /// A tensor of a checkpoint that is made of some of llama.cpp.
  init(
    _ name: String, of parts: [String],
    view: @escaping @Sendable ([TensorView], ConfigValues) throws(ModelError) -> TensorView?
  ) {
    self.name = name
    self.parts = parts
    self.view = view
  }
}

extension Architecture {
  /// Whether some tensors of a checkpoint are made of others of llama.cpp.
  package var hasReturns: Bool { !returns.isEmpty }

  /// Whether a checkpoint can be made of the tensors of llama.cpp.
  package var comesBack: Bool {
    arrangements.allSatisfy { arrangement in
      let name = arrangement.name
      // Checkpoints have these codes, or else numbers.
      let decoded = name.hasSuffix("_blocks") ? String(name.dropLast("_blocks".utf8.count)) : name
      return !arrangement.runtimes.contains(.llamaCpp) || arrangement.comesBackAsIs
        || returns.contains { $0.name == decoded }
    }
  }

  /// The tensors of a checkpoint as views of those of llama.cpp, under the names that they have in
  /// the checkpoint; nil if the architecture arranges none.
  ///
  /// - Parameters:
  ///   - tensors: The tensors of llama.cpp, which keep their names if they are not arranged.
  ///   - config: The config of the checkpoint.
  ///   - runtime: The runtime that the checkpoint is for. Tensors that it arranges as llama.cpp does
  ///     stay as they are.
  /// - Returns: The views.
  /// - Throws: `malformed` for a tensor that is missing, or has another shape than the config states,
  ///   and for values of the config that are missing.
  package func checkpointViews(
    of tensors: [TensorInfo], _ config: JSONValue, for runtime: Runtime = .transformers
  ) throws(ModelError) -> [TensorView]? {
    let returns = returns.filter { made in
      !arrangements.contains {
        $0.name == made.name && $0.runtimes.isSuperset(of: [.llamaCpp, runtime])
      }
    }
    guard !returns.isEmpty else { return nil }
    let values = ConfigValues(config, self)
    var indices: [ExactName: Int] = [:]
    for (index, tensor) in tensors.enumerated() { indices[ExactName(tensor.name)] = index }
    var views: [TensorView] = []
    for (index, tensor) in tensors.enumerated() {
      let whole = TensorView(name: tensor.name, shape: tensor.shape, source: index)
      guard let (layer, rest) = Self.ggufPlace(of: tensor.name),
        let found = returns.first(where: { $0.parts.contains(String(rest)) })
      else {
        views.append(whole)
        continue
      }
      // Every tensor is made where its first part is.
      guard found.parts[0] == rest else {
        try Self.check("blk.\(layer).\(found.parts[0])", isAmong: indices, for: tensor.name)
        continue
      }
      var parts: [TensorView] = []
      for part in found.parts {
        let name = "blk.\(layer).\(part)"
        try Self.check(name, isAmong: indices, for: tensor.name)
        guard let index = indices[ExactName(name)] else { continue }
        parts.append(TensorView(name: name, shape: tensors[index].shape, source: index))
      }
      let isEmpty = parts.contains { $0.shape.elementCount == 0 }
      guard !isEmpty, var view = try found.view(parts, values) else {
        throw ModelError(
          .malformed, "the tensor has another shape than the metadata states", tensor: tensor.name,
          expected: "that of \(found.parts[0]) in \(ggufName)", found: tensor.shape.description)
      }
      view.name = layerName(layer, found.name)
      view.source = index
      views.append(view)
    }
    return views
  }

  /// Whether a tensor has the name in a checkpoint of one that is made of those of llama.cpp.
  package func isReturned(_ name: String) -> Bool {
    place(inLayers: name).map { place in returns.contains { $0.name == place.rest } } ?? false
  }

  /// The number of the layer of a llama.cpp tensor, and the rest of its name; nil outside of layers.
  private static func ggufPlace(of name: String) -> (layer: Int, rest: Substring)? {
    guard name.hasPrefix("blk.") else { return nil }
    let number = name.dropFirst("blk.".utf8.count).prefix { $0 != "." }
    guard NameParts.isNumber(number), let layer = Int(number) else { return nil }
    return (layer, name[number.endIndex...].dropFirst())
  }

  private static func check(
    _ name: String, isAmong indices: [ExactName: Int], for tensor: String
  ) throws(ModelError) {
    guard indices[ExactName(name)] == nil else { return }
    throw ModelError(
      .malformed, "the model lacks a tensor of the layer", tensor: name,
      expected: "\(name) beside \(tensor)")
  }
}

// MARK: - Forms

extension TensorView {
  /// The same numbers under another shape; nil for another number of them.
  ///
  /// `dividesRows` is whether the rows of both differ, so that every number counts as a row.
  func reshaped(_ extents: [Int], dividesRows: Bool = false) -> TensorView? {
    guard let target = Shape(validating: extents), target.elementCount == shape.elementCount else {
      return nil
    }
    var view = self
    view.shape = target
    view.rows = [RowSelection(count: dividesRows ? target.elementCount : target.rowCount)]
    view.dividesRows = dividesRows
    return view
  }

  /// The matrices of a stack, each of them transposed; nil for another rank.
  var transposedMatrices: TensorView? {
    let extents = shape.dimensions
    guard extents.count == 3,
      let target = Shape(validating: [extents[0], extents[2], extents[1]])
    else { return nil }
    var view = self
    view.shape = target
    view.rows = [RowSelection(count: target.rowCount)]
    view.transposition = .init(matrixRowCount: extents[1])
    return view
  }

  /// The same rows in another order; nil for another number of them.
  func reordered(_ order: [RowSelection]) -> TensorView? {
    guard order.reduce(0, { $0 + $1.count }) == shape.rowCount else { return nil }
    var view = self
    view.rows = order
    return view
  }

  /// The numbers of a vector in another order; nil for another number of them.
  func reorderedNumbers(_ order: RowSelection) -> TensorView? {
    guard shape.dimensions == [order.count] else { return nil }
    var view = self
    view.rows = [order]
    view.dividesRows = true
    return view
  }

  /// The columns of views of equal shapes in turn, or all those of each; nil for other shapes.
  static func joiningColumns(_ views: [TensorView], alternating: Bool = true) -> TensorView? {
    guard let first = views.first, let width = first.shape.dimensions.last,
      views.allSatisfy({ $0.shape == first.shape }),
      let shape = Shape(validating: first.shape.dimensions.dropLast() + [views.count * width])
    else { return nil }
    var view = TensorView(name: first.name, shape: shape, source: first.source)
    view.rows = [RowSelection(count: shape.rowCount)]
    view.joining = .columns(views, runLength: alternating ? 1 : width)
    return view
  }

  /// Rows of views with as many columns; nil unless a shape has these rows.
  ///
  /// `rows` are counted from the first row of the first view on; each selection is in one view.
  static func joiningRows(
    of views: [TensorView], _ extents: [Int], rows: [RowSelection]
  ) -> TensorView? {
    guard let first = views.first, let shape = Shape(validating: extents),
      views.allSatisfy({ $0.shape.columnCount == shape.columnCount }),
      rows.reduce(0, { $0 + $1.count }) == shape.rowCount,
      views.reduce(0, { $0 + $1.shape.rowCount }) == shape.rowCount
    else { return nil }
    var view = TensorView(name: first.name, shape: shape, source: first.source)
    view.rows = rows
    view.joining = .rows(views)
    return view
  }

  /// Two stacks of matrices as one: of each matrix the rows of the first, then those of the second.
  static func joiningMatrices(_ parts: [TensorView]) -> TensorView? {
    let extents = parts.first?.shape.dimensions ?? []
    guard extents.count == 3, parts.allSatisfy({ $0.shape.dimensions == extents }) else {
      return nil
    }
    let (count, rowCount) = (extents[0], extents[1])
    let rows = (0..<count).flatMap { matrix in
      parts.indices.map { part in
        RowSelection(from: (part * count + matrix) * rowCount, count: rowCount)
      }
    }
    return joiningRows(
      of: parts, [count, parts.count * rowCount, extents[2]], rows: rows)
  }
}

extension TensorReturn {
  /// The stacks of experts in which newer versions of transformers hold them.
  static let stacks: [TensorReturn] = [
    TensorReturn("mlp.experts.gate_up_proj", of: ["ffn_gate_exps.weight", "ffn_up_exps.weight"]) {
      parts, _ in .joiningMatrices(parts)
    },
    TensorReturn("mlp.experts.down_proj", of: ["ffn_down_exps.weight"]) { parts, _ in
      parts[0].reshaped(parts[0].shape.dimensions)
    },
  ]
}
