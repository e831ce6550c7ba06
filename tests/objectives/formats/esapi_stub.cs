// The part of ESAPI and WPF that AddDosewrightObjectives.cs calls, with signatures as Eclipse's; calls are printed.

using System;
using System.Collections.Generic;
using System.Globalization;

namespace Microsoft.Win32
{
    public class OpenFileDialog
    {
        public static string Chosen;
        public string Filter { get; set; }
        public string FileName { get { return Chosen; } }
        public bool? ShowDialog() { return true; }
    }
}

namespace System.Windows
{
    public enum MessageBoxButton { YesNo }
    public enum MessageBoxResult { Yes, No }

    public static class MessageBox
    {
        public static void Show(string text) { Console.WriteLine("MESSAGE " + text); }
        public static MessageBoxResult Show(string text, string caption, MessageBoxButton button)
        {
            Console.WriteLine("QUESTION " + text);
            return MessageBoxResult.Yes;
        }
    }
}

namespace VMS.TPS.Common.Model.Types
{
    [AttributeUsage(AttributeTargets.Assembly)]
    public class ESAPIScriptAttribute : Attribute { public bool IsWriteable { get; set; } }

    public enum OptimizationObjectiveOperator { Upper, Lower, Exact, None }

    public struct DoseValue
    {
        public enum DoseUnit { Unknown, Gy, cGy, Percent }
        public double Dose;
        public DoseUnit Unit;
        public DoseValue(double dose, DoseUnit unit) { Dose = dose; Unit = unit; }
        public override string ToString() { return Dose.ToString("R", CultureInfo.InvariantCulture) + Unit; }
    }
}

namespace VMS.TPS.Common.Model.API
{
    using VMS.TPS.Common.Model.Types;

    public class Structure { public string Id; public bool IsEmpty; }

    public class StructureSet { public IEnumerable<Structure> Structures; }

    public class OptimizationSetup
    {
        public void AddPointObjective(Structure structure, OptimizationObjectiveOperator limit, DoseValue dose,
            double volume, double priority) { Print("Point", structure.Id, limit, dose, volume, priority); }
        public void AddMeanDoseObjective(Structure structure, DoseValue dose, double priority)
        { Print("Mean", structure.Id, dose, priority); }
        public void AddEUDObjective(Structure structure, OptimizationObjectiveOperator limit, DoseValue dose,
            double parameterA, double priority) { Print("gEUD", structure.Id, limit, dose, parameterA, priority); }
        public void AddAutomaticNormalTissueObjective(double priority) { Print("AutoNTO", priority); }
        public void AddNormalTissueObjective(double priority, double distanceFromTargetBorderInMM,
            double startDosePercentage, double endDosePercentage, double fallOff)
        { Print("NTO", priority, distanceFromTargetBorderInMM, startDosePercentage, endDosePercentage, fallOff); }

        private static void Print(params object[] values)
        {
            Console.WriteLine("CALL " + string.Join("|", Array.ConvertAll(values,
                v => Convert.ToString(v, CultureInfo.InvariantCulture))));
        }
    }

    public class PlanSetup
    {
        public string Id;
        public StructureSet StructureSet;
        public DoseValue TotalDose;
        public OptimizationSetup OptimizationSetup = new OptimizationSetup();
    }

    public class ExternalPlanSetup : PlanSetup { }

    public class Patient { public void BeginModifications() { Console.WriteLine("BEGIN"); } }

    public class ScriptContext
    {
        public Patient Patient = new Patient();
        public ExternalPlanSetup ExternalPlanSetup;
    }
}

// Arguments: the CSV, the plan's dose unit, then the structures.
public static class Program
{
    public static void Main(string[] arguments)
    {
        CultureInfo.CurrentCulture = new CultureInfo("de-DE"); // a comma is the decimal sign of many clinics
        Console.OutputEncoding = System.Text.Encoding.UTF8;
        Microsoft.Win32.OpenFileDialog.Chosen = arguments[0];
        var unit = arguments[1] == "cGy" ? VMS.TPS.Common.Model.Types.DoseValue.DoseUnit.cGy
            : VMS.TPS.Common.Model.Types.DoseValue.DoseUnit.Gy;
        var structures = new List<VMS.TPS.Common.Model.API.Structure>();
        for (var index = 2; index < arguments.Length; index++)
            structures.Add(new VMS.TPS.Common.Model.API.Structure { Id = arguments[index] });
        var plan = new VMS.TPS.Common.Model.API.ExternalPlanSetup
        {
            Id = "Plan1",
            StructureSet = new VMS.TPS.Common.Model.API.StructureSet { Structures = structures },
            TotalDose = new VMS.TPS.Common.Model.Types.DoseValue(70.0, unit)
        };
        new VMS.TPS.Script().Execute(new VMS.TPS.Common.Model.API.ScriptContext { ExternalPlanSetup = plan });
    }
}
