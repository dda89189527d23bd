internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

/// Writes what no worker transforms: companions, attached adapters and additional tensors.
struct UnchangedParts {
  private let plan: Plan
  private static let pieceByteCount = 1 << 20

  init(_ plan: Plan) { self.plan = plan }

  /// Copies or writes the companion files; must be called before any block is written.
  ///
  /// Throws `io`, and what reading throws.
  func copyCompanions(to sink: any BlockSink) throws(ModelError) {
    for (index, companion) in plan.companions.enumerated() {
      guard let text = companion.text else {
        guard let source = companion.source else { continue }
        try Self.copyCompanion(source, of: plan.model, to: index, in: sink)
        continue
      }
      for start in stride(from: 0, to: text.count, by: Self.pieceByteCount) {
        let end = min(text.count, start + Self.pieceByteCount)
        try sink.writeCompanion(index, at: start, Array(text[start..<end]))
      }
    }
  }

  /// Copies companion `source` of a model to companion `index` of an output.
  ///
  /// Throws `io`, and what reading throws.
  static func copyCompanion(
    _ source: Int, of model: Model, to index: Int, in sink: any BlockSink
  ) throws(ModelError) {
    let byteCount = model.catalog.companions[source].byteCount
    for start in stride(from: 0, to: byteCount, by: pieceByteCount) {
      let count = min(pieceByteCount, byteCount - start)
      var bytes = [UInt8](repeating: 0, count: count)
      try bytes.change(0..<count) { (span) throws(ModelError) in
        try model.reader.readCompanion(source, at: start, into: &span)
      }
      try sink.writeCompanion(index, at: start, bytes)
    }
  }

  /// Writes the tensors that no worker writes.
  ///
  /// Throws `io`, and what reading throws.
  func copyTensors(to sink: any BlockSink, firstTicket: Int) throws(ModelError) {
    try writeAdditions(to: sink, firstTicket: firstTicket)
    try copyAttachments(to: sink, firstTicket: firstTicket + plan.additions.count)
  }

  /// Writes the tensors that have no tensor in the source.
  ///
  /// Throws `io`.
  private func writeAdditions(to sink: any BlockSink, firstTicket: Int) throws(ModelError) {
    for (index, addition) in plan.additions.enumerated() {
      let block = PartBlock(stored: addition.stored, offset: 0, bytes: addition.bytes)
      try sink.write([block], ticket: firstTicket + index)
    }
  }

  /// Copies the tensors of attached adapters.
  ///
  /// Throws `io`, and what reading throws.
  private func copyAttachments(to sink: any BlockSink, firstTicket: Int) throws(ModelError) {
    var ticket = firstTicket
    for attachment in plan.attachments {
      for (stored, index) in zip(attachment.adapter.stored, attachment.stored) {
        let tensor = attachment.model.reader.stored[index]
        let piece = Attachment.pieceByteCount(of: tensor)
        for start in stride(from: 0, to: tensor.byteCount, by: piece) {
          var bytes = [UInt8](repeating: 0, count: min(piece, tensor.byteCount - start))
          try bytes.change(0..<bytes.count) { (span) throws(ModelError) in
            try attachment.model.reader.read(index, at: start, into: &span)
          }
          try sink.write([PartBlock(stored: stored, offset: start, bytes: bytes)], ticket: ticket)
          ticket += 1
        }
      }
    }
  }
}
