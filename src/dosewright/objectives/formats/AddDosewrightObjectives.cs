// Adds the objectives of a CSV that Dosewright wrote (esapi_objectives.csv) to the plan that is open in Eclipse.
// Doses in the CSV are total Gy; they are turned into the unit that the plan shows.
// Either every row is understood and every structure found, or nothing is added. Objectives of the plan are kept.
// Nobody could test this script in Eclipse: look at every objective it adds. For research only, not for clinical use.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using System.Windows;
using Microsoft.Win32;
using VMS.TPS.Common.Model.API;
using VMS.TPS.Common.Model.Types;

[assembly: ESAPIScript(IsWriteable = true)]

namespace VMS.TPS
{
    public class Script
    {
        private static readonly string[] Columns =
        {
            "structure_id", "objective", "operator", "dose_total_gy", "volume_percent", "priority", "parameter_a",
            "distance_mm", "start_percent", "end_percent", "fall_off_per_mm"
        };

        public void Execute(ScriptContext context)
        {
            var plan = context.ExternalPlanSetup;
            if (plan == null || plan.StructureSet == null)
            {
                MessageBox.Show("Open an external beam plan with structures first.");
                return;
            }
            var dialog = new OpenFileDialog { Filter = "Objectives of Dosewright (*.csv)|*.csv" };
            if (dialog.ShowDialog() != true) return;
            List<Action<OptimizationSetup>> steps;
            try
            {
                steps = Prepare(File.ReadAllText(dialog.FileName, Encoding.UTF8), plan);
            }
            catch (FormatException error)
            {
                MessageBox.Show("Nothing was added. " + error.Message);
                return;
            }
            var question = string.Format("Add {0} objectives to plan {1}?", steps.Count, plan.Id);
            if (MessageBox.Show(question, "Dosewright", MessageBoxButton.YesNo) != MessageBoxResult.Yes) return;
            context.Patient.BeginModifications();
            foreach (var step in steps) step(plan.OptimizationSetup);
            MessageBox.Show(string.Format("{0} objectives were added. Look at each of them.", steps.Count));
        }

        private static List<Action<OptimizationSetup>> Prepare(string text, PlanSetup plan)
        {
            var rows = ReadRows(text);
            if (rows.Count == 0 || !rows[0].SequenceEqual(Columns))
                throw new FormatException("The first line must name the columns " + string.Join(",", Columns) + ".");
            var steps = new List<Action<OptimizationSetup>>();
            for (var index = 1; index < rows.Count; index++)
            {
                if (rows[index].Count != Columns.Length)
                    throw new FormatException(string.Format("Row {0} must have {1} fields.", index + 1, Columns.Length));
                steps.Add(Step(rows[index], index + 1, plan));
            }
            return steps;
        }

        private static Action<OptimizationSetup> Step(IList<string> row, int number, PlanSetup plan)
        {
            var priority = Number(row, 5, number);
            if (priority < 0.0 || priority > 1000.0)
                throw new FormatException(string.Format("Row {0}: the priority must be in 0 to 1000.", number));
            if (row[1] == "AutomaticNormalTissue") return setup => setup.AddAutomaticNormalTissueObjective(priority);
            if (row[1] == "NormalTissue")
            {
                double distance = Number(row, 7, number), start = Number(row, 8, number);
                double end = Number(row, 9, number), fallOff = Number(row, 10, number);
                return setup => setup.AddNormalTissueObjective(priority, distance, start, end, fallOff);
            }
            var structure = Find(row[0], number, plan);
            var dose = Dose(Number(row, 3, number), plan);
            if (row[1] == "Mean") return setup => setup.AddMeanDoseObjective(structure, dose, priority);
            var limit = Operator(row[2], number);
            if (row[1] == "Point")
            {
                var volume = Number(row, 4, number);
                return setup => setup.AddPointObjective(structure, limit, dose, volume, priority);
            }
            if (row[1] == "gEUD")
            {
                var a = Number(row, 6, number);
                return setup => setup.AddEUDObjective(structure, limit, dose, a, priority);
            }
            throw new FormatException(string.Format("Row {0}: unknown objective '{1}'.", number, row[1]));
        }

        private static Structure Find(string field, int number, PlanSetup plan)
        {
            var id = field.StartsWith("'") ? field.Substring(1) : field; // against formulas in spreadsheets
            var structure = plan.StructureSet.Structures.FirstOrDefault(
                s => string.Equals(s.Id, id, StringComparison.OrdinalIgnoreCase));
            if (structure == null || structure.IsEmpty)
                throw new FormatException(string.Format("Row {0}: no structure '{1}', or it is empty.", number, id));
            return structure;
        }

        private static DoseValue Dose(double doseGy, PlanSetup plan)
        {
            return plan.TotalDose.Unit == DoseValue.DoseUnit.cGy
                ? new DoseValue(doseGy * 100.0, DoseValue.DoseUnit.cGy)
                : new DoseValue(doseGy, DoseValue.DoseUnit.Gy);
        }

        private static OptimizationObjectiveOperator Operator(string text, int number)
        {
            if (text == "Upper") return OptimizationObjectiveOperator.Upper;
            if (text == "Lower") return OptimizationObjectiveOperator.Lower;
            throw new FormatException(string.Format("Row {0}: unknown operator '{1}'.", number, text));
        }

        private static double Number(IList<string> row, int column, int number)
        {
            double value;
            var style = NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign;
            if (!double.TryParse(row[column], style, CultureInfo.InvariantCulture, out value))
                throw new FormatException(string.Format("Row {0}: {1} must be a number.", number, Columns[column]));
            return value;
        }

        // Fields in quotes may hold commas and, doubled, quotes.
        private static List<List<string>> ReadRows(string text)
        {
            var rows = new List<List<string>>();
            var row = new List<string>();
            var field = new StringBuilder();
            var quoted = false;
            for (var at = 0; at < text.Length; at++)
            {
                var c = text[at];
                if (quoted && c == '"' && at + 1 < text.Length && text[at + 1] == '"') { field.Append('"'); at++; }
                else if (c == '"') quoted = !quoted;
                else if (quoted) field.Append(c);
                else if (c == ',') { row.Add(field.ToString()); field.Clear(); }
                else if (c == '\n') { row.Add(field.ToString()); field.Clear(); rows.Add(row); row = new List<string>(); }
                else if (c != '\r') field.Append(c);
            }
            if (quoted) throw new FormatException("A quote is not closed.");
            if (field.Length > 0 || row.Count > 0) { row.Add(field.ToString()); rows.Add(row); }
            return rows;
        }
    }
}
